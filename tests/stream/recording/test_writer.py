from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mcap.reader import make_reader

from stream.errors import RecordingError
from stream.recording.entries import Arrived
from stream.recording.reader import Recording
from stream.recording.schemas import RecordingHead
from stream.recording.writer import RecordingWriter
from stream.timeline.packets import AudioChunk

WRITES_FOR_EVER = """
import sys
import numpy as np
from stream.prediction import ModelIdentity
from stream.recording.entries import Arrived
from stream.recording.messages import MessageMaker
from stream.recording.schemas import BatchPlan, RecordingHead
from stream.recording.writer import RecordingWriter
from stream.timeline.packets import AudioChunk, Modality
from stream.timeline.watermark import StreamDeclaration

head = RecordingHead(
    session="s", source="-", streams=(StreamDeclaration(name="audio", modality=Modality.AUDIO),),
    segmentation="utterances", timeline={}, provisionals=True, batches=BatchPlan(speech=1, affect=1, device="cpu"),
    model=ModelIdentity(name="m", digest="d", licence="l"), transcriber="moonshine",
)
random, maker, number = np.random.default_rng(1), MessageMaker(), 0
with RecordingWriter(sys.argv[1], head) as writer:
    while True:
        at_ns = number * 100_000_000
        samples = random.integers(-9000, 9000, 1600).astype(np.int16)
        chunk = AudioChunk(
            stream="audio", sequence=number, start_ns=at_ns, end_ns=at_ns + 100_000_000, samples=samples,
            first_sample=1600 * number,
        )
        for batch in maker.entry(Arrived(at_ns, chunk)):
            try:
                writer.write(batch)
            except OSError as error:
                print(error.errno)
                sys.exit()
        number += 1
        if number == 500:
            print("half a minute and more", flush=True)
"""


def whole_seconds(path: Path) -> float:
    """What a cut recording holds, checked to be without a gap."""
    recording = Recording(path)
    chunks = [a.entry for a in recording.arrived() if isinstance(a.entry, AudioChunk)]
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert recording.cut is not None
    return len(chunks) / 10


def test_killed_while_it_writes_the_recording_is_readable_to_its_last_chunk(tmp_path: Path) -> None:
    path = tmp_path / "killed.mcap"
    process = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert whole_seconds(path) > 30


def test_where_the_disk_is_full_what_was_whole_stays(tmp_path: Path) -> None:
    path = tmp_path / "full.mcap"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n{WRITES_FOR_EVER}"
    done = subprocess.run([sys.executable, "-c", limited, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0
    assert 100_000 < path.stat().st_size < 1_000_000
    assert whole_seconds(path) > 10


def test_a_full_disk_is_told_at_the_start(head: RecordingHead) -> None:
    with pytest.raises(RecordingError, match="No space left"):
        RecordingWriter("/dev/full", head)


def test_other_readers_find_channels_schemas_and_an_index(
    write: Callable[..., Path], entries: list[Arrived], tmp_path: Path
) -> None:
    with write(tmp_path / "a.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    schemas = {
        channel.topic: summary.schemas[channel.schema_id].name for channel in summary.channels.values() if channel.schema_id
    }
    assert schemas == {"/sound/audio": "foxglove.RawAudio"}
    assert {channel.topic for channel in summary.channels.values()} == {"/door", "/media", "/sound/audio"}
    assert summary.chunk_indexes
    assert all(index.compression == "zstd" for index in summary.chunk_indexes)
    assert os.path.getsize(tmp_path / "a.mcap") > 0
