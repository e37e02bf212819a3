"""What a session consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from deploy.session.live_reading import LiveReading
from deploy.session.predicting import Predictor
from deploy.session.recorder import SessionRecorder
from deploy.session.submitting import SessionNotice
from deploy.settings import EngineSettings, SheddingSettings
from operators.interface import StreamOperator
from stream.sources.readable import ReadableSource
from stream.timeline.settings import TimelineSettings
from stream.timeline.watermark import StreamDeclaration


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The sources of a session, its streams in order, and the operators of each source stream by its name.

    Without a `predictor` nothing is predicted; `recorder` gets what passes the door, in order. With `live` the session is
    one of live sources, `sources` is empty, and of the frames the first in each cell of `picks_per_second` is picked.
    """

    sources: Sequence[ReadableSource] = ()
    streams: Sequence[StreamDeclaration]
    operators: Mapping[str, Sequence[StreamOperator]]
    predictor: Predictor | None
    timeline: TimelineSettings
    engine: EngineSettings
    provisionals: bool = True
    recorder: SessionRecorder | None = None
    live: LiveReading | None = None
    shedding: SheddingSettings = SheddingSettings()
    picks_per_second: int = 5
    notify: Callable[[SessionNotice], None] | None = None
