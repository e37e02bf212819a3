"""Affectstream's runtimes: the session engine, inline and cluster deployment, command line, benchmarks.

`deploy.analyze("clip.mp4")` iterates over the predictions of a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.prediction import Prediction

__all__ = ["analyze"]


def analyze(source: str, **options: Any) -> Iterator[Prediction]:
    """Predictions of a media source, in this process; options are those of `deploy.inline.open_session`.

    Loads torch, OpenCV and the operators on the first call only. Raises `SourceCutError` after the last prediction where the
    source held less than it declares.
    """
    from deploy.inline import open_session
    from stream.errors import SourceCutError

    with open_session(source, **options) as session:
        yield from session
        if session.summary.cut is not None:
            raise SourceCutError(session.summary.cut, fix="what is there was analysed, fetch it again for the rest")
