"""The one family of errors. Each names the thing, the value found, the value expected and the way out."""

from __future__ import annotations


class AffectstreamError(Exception):
    """Root of every error that this project raises on purpose.

    The message is one line: ``what: found ..., expected ...; fix``. The parts that are unknown are left out.
    `exit_code` is what a command ends with: 2 where the user can mend it, 1 where something failed.
    """

    exit_code = 1

    def __init__(self, what: str, *, found: object = None, expected: object = None, fix: str | None = None) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        self.fix = fix
        details = [f"{label} {value}" for label, value in (("found", found), ("expected", expected)) if value is not None]
        line = what
        if details:
            line += ": " + ", ".join(details)
        if fix:
            line += f"; {fix}"
        super().__init__(" ".join(line.split()))


class InputError(AffectstreamError):
    """Something that came from outside can't be used as it is: the user's to mend."""

    exit_code = 2


class SourceError(InputError):
    """A source can't be opened, or holds what its door refuses."""


class TranscriptError(InputError):
    """A given transcript can't be read."""


class SettingsError(InputError):
    """A setting is missing, unknown or out of its range."""


class ModelFolderError(InputError):
    """A model folder is incomplete, foreign or altered."""


class RecordingError(InputError):
    """A recording can't be made or opened, or holds what no recording of this project holds."""


class DatasetError(InputError):
    """A data set lacks what training or evaluation needs."""


class EndpointError(InputError):
    """An address can't be bound or connected to."""


class MissingExtraError(InputError):
    """An optional dependency is not installed."""


class SourceCutError(AffectstreamError):
    """A source ended before what it declares, or is damaged inside; what was there has been analysed."""


class OperatorError(AffectstreamError):
    """An operator raised, or gave no answer within its deadline."""


class TimelineError(AffectstreamError):
    """A rule of the timeline was broken by what was fed to it, for instance its bound on retention."""


class PublishingError(AffectstreamError):
    """A publisher or subscriber met frames or a state that the protocol does not allow."""
