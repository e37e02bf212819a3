"""A session out of a list, in place of the real pipeline."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import msgspec

from stream.prediction import (
    ModalityReport,
    ModelIdentity,
    Prediction,
    Result,
    SentimentEstimate,
    Transcript,
)
from stream.timeline.dispositions import StreamDispositions

SECOND = 1_000_000_000


def prediction(
    start_s: float,
    end_s: float,
    sentiment: float | None = None,
    words: str | None = None,
    *,
    session: str = "clip",
    status: str = "final",
    revision: int = 1,
    text: str = "present",
    video: str = "present",
    kind: str = "utterance",
    emotion: str = "joy",
) -> Prediction:
    """A prediction as the pipeline makes them."""
    transcript = None if words is None else Transcript(text=words, origin="moonshine-tiny-en")
    said = None if sentiment is None else SentimentEstimate(value=sentiment)
    return Prediction(
        result=Result(
            session=session,
            kind=kind,
            start_ns=round(start_s * SECOND),
            end_ns=round(end_s * SECOND),
            revision=revision,
            status=status,
            reason="silence",
            sentiment=said,
            emotions=None if said is None else {emotion: 0.64, "neutral" if emotion != "neutral" else "joy": 0.36},
            valence=None if said is None else sentiment / 3,
            arousal=None if said is None else -0.31,
            transcript=transcript,
            modalities={
                "text": ModalityReport(state=text, weight=0.0),
                "audio": ModalityReport(state="present", coverage=1.0),
                "video": ModalityReport(state=video),
            },
            model=ModelIdentity(name="fake", digest="0", licence="any"),
        )
    )


SPEECH = (
    prediction(0, 2, None, kind="silence", text="absent"),
    prediction(2, 3, 0.4, "Thank you", status="provisional"),
    prediction(2, 6.5, 1.2, "Thank you all very much for being here today, and welcome to this place", revision=5),
    prediction(6.5, 9, -1.8, "There was nothing [bold]we[/bold] could do", revision=3, emotion="sadness"),
    prediction(9, 12, 0.1, "It\x1b[31m goes on\n", revision=3, video="absent", emotion="neutral"),
)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    dispositions: dict[str, StreamDispositions]
    revisions: dict[str, int]
    media_ns: int
    wall_s: float
    cpu_s: float
    cut: str | None = None
    notices: tuple[str, ...] = ()


class FakeSession:
    """What `deploy.inline.open_session` gives, out of a list; an exception in the list is raised."""

    duration_ns = 12 * SECOND
    recording_failure: str | None = None
    notices: tuple[str, ...] = ()

    def __init__(self, steps: tuple[Prediction | BaseException, ...], session: str, cut: str | None) -> None:
        self.listeners: list[Any] = []
        self.id = session
        self.position_ns = 0
        self.closed = False
        self._steps = steps
        self._cut = cut
        self._summary: Summary | None = None

    @property
    def summary(self) -> Summary:
        assert self._summary is not None
        return self._summary

    def __iter__(self) -> Iterator[Prediction]:
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                self.position_ns = step.result.end_ns
                result = msgspec.structs.replace(step.result, session=self.id)
                yield msgspec.structs.replace(step, result=result)
        finally:
            self._summary = Summary(
                dispositions={
                    "video": StreamDispositions(
                        received=144, used=60, dropped={"sampling": 84}, late=0, unclaimed=0, pending=0
                    ),
                    "audio": StreamDispositions(received=375, used=375, dropped={}, late=0, unclaimed=0, pending=0),
                },
                revisions={"final": 4},
                media_ns=self.position_ns,
                wall_s=4.0,
                cpu_s=3.0,
                cut=self._cut,
            )

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class FakeInline(types.ModuleType):
    """Stands in for `deploy.inline`, which loads torch and the weights."""

    def __init__(self) -> None:
        super().__init__("deploy.inline")
        self.steps: tuple[Prediction | BaseException, ...] = SPEECH
        self.cut: str | None = None
        self.notices: tuple[str, ...] = ()
        self.refusal: Exception | None = None
        self.asked: list[dict[str, Any]] = []
        self.sessions: list[FakeSession] = []
        self.LoadedOperators = LoadedOperators

    def open_session(self, source: str, **options: Any) -> FakeSession:
        self.asked.append({"source": source, **options})
        if self.refusal is not None:
            raise self.refusal
        session = FakeSession(self.steps, options.get("session") or "clip", self.cut)
        session.notices = self.notices
        self.sessions.append(session)
        return session


class LoadedOperators:
    def close(self) -> None:
        """Nothing was loaded."""
