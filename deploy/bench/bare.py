"""The yardstick of `affectstream bench pipeline`: the same operators on identical inputs, called bare in one straight loop.

Written without the project's own code, so that what the pipeline adds can be seen: no timeline, no threads, no packets.
What to predict is given as a plan, recorded from the pipeline's run. Run it in a process of its own:

    python -m deploy.bench.bare MEDIA PLAN.json MODEL_FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from deploy.bench.bare_faces import FaceFinder, FaceNetwork
from deploy.bench.bare_mouths import MouthCutter, SpeakerFit
from deploy.bench.bare_operators import (
    RATE,
    MiniLM,
    ModelWeights,
    Moonshine,
    Prosody,
    Silero,
    head,
    voice,
)

NS_PER_SECOND = 1_000_000_000
PICKS_PER_SECOND = 5
FACE_BATCH = TEXT_BATCH = 16
"""Measured on one core: larger ones gain nothing."""


@dataclass(frozen=True)
class PlannedSegment:
    """One revision that the pipeline predicted.

    [start_ns, end_ns) is its span; `speech_ns` what of it went to the speech encoder (None: nothing); `transcribe`
    whether it was transcribed; `text` what the text encoder read ("": nothing).
    """

    start_ns: int
    end_ns: int
    speech_ns: tuple[int, int] | None
    transcribe: bool
    text: str


@dataclass(frozen=True)
class BareTimes:
    """CPU seconds of the bare loop without loading: in total, and of each operator by its own timer."""

    total_s: float
    operators_s: dict[str, float]


class _Stopwatch:
    """CPU seconds of this process by name, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started


@dataclass
class _Material:
    """What decoding gives: int16 samples from `audio_ns` on, every crop, and of each frame with a face (`picks_ns`) the
    place of its largest one among the crops.
    """

    samples: np.ndarray
    audio_ns: int
    crops: list[np.ndarray]
    picks_ns: list[int]
    largest: list[int]


class BareLoop:
    """Everything loaded; `run` is what is timed."""

    def __init__(self, model_folder: Path) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._weights = ModelWeights(model_folder)
        self._finder = FaceFinder()
        self._face_network = FaceNetwork(self._weights.face)
        self._speaker = SpeakerFit()
        self._silero = Silero()
        self._moonshine = Moonshine()
        self._prosody = Prosody()
        self._minilm = MiniLM()

    @torch.inference_mode()
    def run(self, media: str, plan: Sequence[PlannedSegment]) -> BareTimes:
        """One pass over a file that holds a video and an audio track, or one of them; what the model lacks is left out."""
        clock = _Stopwatch()
        started = time.process_time()
        cutter = MouthCutter()
        material = self._decode(media, cutter, clock)
        with clock("voice activity"):
            self._silero(material.samples)
        with clock("face network"):
            batches = [material.crops[k : k + FACE_BATCH] for k in range(0, len(material.crops), FACE_BATCH)]
            features = [self._face_network(torch.from_numpy(np.stack(batch))) for batch in batches]
            faces = torch.cat(features)[material.largest].numpy() if features else np.zeros((0, 64), np.float32)
        for segment in plan:
            if segment.speech_ns is not None:
                edges = ((edge_ns - material.audio_ns) * RATE // NS_PER_SECOND for edge_ns in segment.speech_ns)
                heard = material.samples[slice(*(max(0, edge) for edge in edges))]
                self._hear(heard, segment, clock)
                if cutter.mouths:
                    with clock("speaker"):
                        self._speaker(list(cutter.mouths.values()), heard, segment.speech_ns[0])
            with clock("face head"):
                first, last = np.searchsorted(material.picks_ns, (segment.start_ns, segment.end_ns))
                if first < last:
                    self._judge(torch.from_numpy(faces[first:last].mean(0, keepdims=True)), self._weights.video)
        if self._weights.text:
            # Each once: neither does the pipeline compute again what was said a moment ago.
            self._read(list(dict.fromkeys(segment.text for segment in plan if segment.text)), clock)
        return BareTimes(total_s=time.process_time() - started, operators_s=clock.seconds)

    def _decode(self, media: str, cutter: MouthCutter, clock: _Stopwatch) -> _Material:
        chunks = [np.zeros(0, np.int16)]
        material = _Material(chunks[0], 0, [], [], [])
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        newest_pick = -1
        with av.open(media) as container:
            tracks = [*container.streams.video[:1], *container.streams.audio[:1]]
            for track in tracks:
                track.codec_context.thread_count = 1
            zero_ns = max(0, (container.start_time or 0) * 1_000)
            frames = container.decode(tracks)
            while True:
                with clock("decoding"):
                    frame = next(frames, None)
                    if isinstance(frame, av.AudioFrame):
                        if len(chunks) == 1:
                            material.audio_ns = _session_ns(frame, zero_ns)
                        chunks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
                if frame is None:
                    break
                if isinstance(frame, av.VideoFrame):
                    at_ns = _session_ns(frame, zero_ns)
                    if at_ns * PICKS_PER_SECOND // NS_PER_SECOND > newest_pick:
                        newest_pick = at_ns * PICKS_PER_SECOND // NS_PER_SECOND
                        self._look(frame, at_ns, material, cutter, clock)
                    else:
                        with clock("mouths"):
                            cutter.see(frame, at_ns)
        with clock("decoding"):
            chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
            early = max(0, -material.audio_ns * RATE // NS_PER_SECOND)
            material.samples = np.concatenate(chunks)[early:]
            material.audio_ns = max(0, material.audio_ns)
        return material

    def _look(self, frame: av.VideoFrame, at_ns: int, material: _Material, cutter: MouthCutter, clock: _Stopwatch) -> None:
        with clock("face detection"):
            picture, landmarks = self._finder.detect(frame)
        if len(landmarks):
            material.picks_ns.append(at_ns)
            material.largest.append(len(material.crops))
            with clock("face crops"):
                material.crops += self._finder.crops(frame, picture, landmarks)
        with clock("mouths"):
            cutter.pick(frame, at_ns, self._finder.boxes, landmarks)

    def _hear(self, samples: np.ndarray, segment: PlannedSegment, clock: _Stopwatch) -> None:
        with clock("speech encoder"):
            states, layers = self._moonshine.encode(samples)
        if segment.transcribe:
            with clock("transcription"):
                self._moonshine.decode(states, len(samples))
        if not self._weights.audio:
            return
        with clock("voice head"):
            feature = voice(self._weights.pooling, torch.from_numpy(layers), self._prosody(samples))
            self._judge(feature, self._weights.audio)

    def _read(self, texts: list[str], clock: _Stopwatch) -> None:
        # Of like length together, so that a batch is hardly padded.
        texts = sorted(texts, key=len)
        for first in range(0, len(texts), TEXT_BATCH):
            with clock("text encoder"):
                embeddings = self._minilm(texts[first : first + TEXT_BATCH])
            with clock("text heads"):
                self._judge(embeddings, self._weights.text)

    def _judge(self, features: Tensor, heads: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: head(weights, features).softmax(1) if name == "emotion" else head(weights, features)
            for name, weights in heads.items()
        }


def _session_ns(frame: av.VideoFrame | av.AudioFrame, zero_ns: int) -> int:
    if frame.pts is None or frame.time_base is None:
        raise ValueError("a frame without a time stamp: take media that has them")
    return int(frame.pts * frame.time_base * NS_PER_SECOND) - zero_ns


def run(media: str, plan: Sequence[PlannedSegment], model_folder: str) -> BareTimes:
    """CPU seconds of the operators over a media file and what the plan says, loading excluded."""
    return BareLoop(Path(model_folder)).run(media, plan)


def read_plan(path: Path) -> list[PlannedSegment]:
    """A plan out of a JSON list of segments."""
    return [PlannedSegment(**segment) for segment in json.loads(path.read_bytes())]


if __name__ == "__main__":
    media_path, plan_path, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(run(media_path, read_plan(Path(plan_path)), folder))) + "\n")
