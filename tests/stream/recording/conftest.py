"""Makes what stands beside the tests importable, which importlib mode alone does not; small recordings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream.prediction import ModelIdentity
from stream.recording.entries import Arrived, Closed
from stream.recording.messages import MessageMaker
from stream.recording.schemas import BatchPlan, MediaPacket, RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter
from stream.timeline.packets import AudioChunk, Bound, Modality
from stream.timeline.watermark import StreamDeclaration

sys.path.insert(0, str(Path(__file__).parent))

MS = 1_000_000


@pytest.fixture
def head() -> RecordingHead:
    return RecordingHead(
        session="s",
        source="a clip",
        streams=(StreamDeclaration(name="audio", modality=Modality.AUDIO),),
        segmentation="utterances",
        timeline={},
        provisionals=True,
        batches=BatchPlan(speech=1, affect=16, device="cpu"),
        model=ModelIdentity(name="m", digest="d", licence="l"),
        transcriber="moonshine",
    )


@pytest.fixture
def entries() -> list[Arrived]:
    """Ten seconds of a sound that compresses badly."""
    samples = np.random.default_rng(7).integers(-9000, 9000, (100, 1600)).astype(np.int16)
    arrived: list[Arrived] = []
    for number, chunk in enumerate(samples):
        start_ns = number * 100 * MS
        packet = AudioChunk(
            stream="audio",
            sequence=number,
            start_ns=start_ns,
            end_ns=start_ns + 100 * MS,
            samples=chunk,
            first_sample=number * 1600,
        )
        arrived += [Arrived(start_ns, packet), Arrived(start_ns, Bound(stream="audio", bound_ns=packet.end_ns))]
    return [*arrived, Arrived(start_ns, Closed())]


@pytest.fixture
def write(head: RecordingHead, entries: list[Arrived]) -> Callable[..., Path]:
    """Writes the small recording."""

    def write(path: Path, *, finish: bool = True) -> Path:
        maker = MessageMaker()
        with RecordingWriter(path, head) as writer:
            for arrived in entries:
                media = MediaPacket(track=0, pts=None, dts=1, duration=0, key=True, data=b"x" * 500)
                for batch in [*maker.entry(arrived), *maker.media(media, arrived.arrival_ns)]:
                    writer.write(batch)
            for batch in maker.rest():
                writer.write(batch)
            if finish:
                writer.finish(RecordingEnd(complete=True, dispositions={}))
        return path

    return write
