"""From decoded audio of any format to 16 kHz mono: samples are counted, gaps are filled by count, overlaps dropped by count."""

from __future__ import annotations

import av
import numpy as np

from stream.timeline.packets import AudioChunk
from stream.timeline.time import NS_PER_SAMPLE, NS_PER_SECOND, SAMPLE_RATE

_SILENCE = np.zeros(SAMPLE_RATE, np.int16)
_SILENCE.setflags(write=False)
_FLOATS: dict[str, type[np.floating]] = {"flt": np.float32, "fltp": np.float32, "dbl": np.float64, "dblp": np.float64}
_LOUDEST = 65_535.0
"""Beyond it (full scale is 1) a float sample is no sound: the conversion to int16 overflows and changes its sign."""
_MOST_PLANES = 8
"""Planes of a frame that PyAV shows."""


class Resampler:
    """One audio track's samples on the session's timeline.

    Within an epoch samples are counted from the first one (its *origin*): sample k is at origin + k x 62500 ns. One
    stateful resampler runs as long as the samples are contiguous and of one format, so how they were cut into frames
    changes nothing. Where the time stamps leave a gap beyond `tolerance_ns`, or samples are no numbers, the count goes
    on with masked zeros; where they overlap by more, what overlaps is dropped.
    """

    def __init__(self, stream: str, tolerance_ns: int) -> None:
        self._stream = stream
        self._tolerance_ns = tolerance_ns
        self._epoch = 0
        self._sequence = 0
        self._graph: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None
        self._floor_ns = 0
        self._origin_ns: int | None = None
        self._count = 0
        self._run_first = 0
        self._run_fed = 0
        self.trimmed_ns = 0
        self.filled_ns = 0
        self.overlap_ns = 0
        self.not_sound = 0

    @property
    def end_ns(self) -> int:
        """Where the samples given out so far end: nothing that starts earlier follows."""
        return self._floor_ns if self._origin_ns is None else self._origin_ns + self._count * NS_PER_SAMPLE

    def start_epoch(self, epoch: int, at_ns: int) -> None:
        """Forget everything (`flush` comes first); what lies before `at_ns` will be trimmed."""
        self._epoch, self._floor_ns = epoch, at_ns
        self._graph = self._format = self._origin_ns = None
        self._count = self._run_first = self._run_fed = 0

    def take(self, frame: av.AudioFrame, at_ns: int | None) -> list[AudioChunk]:
        """The chunks that a decoded frame completes. `at_ns`: its session time, None where the container gives none."""
        rate, samples = frame.sample_rate, frame.samples
        chunks: list[AudioChunk] = []
        skip = 0
        expected_ns = self._expected_ns()
        if at_ns is None:
            at_ns = self.end_ns if expected_ns is None else expected_ns
        elif expected_ns is None or self._origin_ns is None:
            if at_ns < self._floor_ns:
                skip = -((at_ns - self._floor_ns) * rate // NS_PER_SECOND)
                self.trimmed_ns += min(skip, samples) * NS_PER_SECOND // rate
        elif at_ns < expected_ns - self._tolerance_ns:
            skip = (expected_ns - at_ns) * rate // NS_PER_SECOND
            self.overlap_ns += min(skip, samples) * NS_PER_SECOND // rate
        elif at_ns > expected_ns + self._tolerance_ns:
            chunks += self._end_run()
            chunks += self._fill_to(at_ns)
        if skip >= samples:
            return chunks
        at_ns += skip * NS_PER_SECOND // rate
        if self._origin_ns is None:
            self._origin_ns = at_ns
        sound = self._sound(frame)
        if sound is None:
            chunks += self._feed(frame if not skip else _part(_mono(frame), skip, samples))
            return chunks
        return chunks + self._take_masked(_mono(frame), sound, skip)

    def flush(self) -> list[AudioChunk]:
        """What the resampler still holds, at the end or before a new epoch."""
        return self._end_run()

    def _expected_ns(self) -> int | None:
        """Where the next input sample lies, by count."""
        if self._origin_ns is None:
            return None
        fed_ns = self._run_fed * NS_PER_SECOND // self._format[2] if self._format else 0
        return self._origin_ns + self._run_first * NS_PER_SAMPLE + fed_ns

    def _take_masked(self, frame: av.AudioFrame, sound: np.ndarray, skip: int) -> list[AudioChunk]:
        """A mono frame with samples that are no sound: from the first to the last of them it becomes a masked gap."""
        bad = np.flatnonzero(~sound[skip:])
        if not len(bad):
            return self._feed(_part(frame, skip, frame.samples))
        self.not_sound += len(bad)
        first, last = skip + int(bad[0]), skip + int(bad[-1]) + 1
        chunks = self._feed(_part(frame, skip, first)) if first > skip else []
        gap_starts_ns = self._expected_ns()
        assert gap_starts_ns is not None
        chunks += self._end_run()
        chunks += self._fill_to(gap_starts_ns + (last - first) * NS_PER_SECOND // frame.sample_rate)
        if last < frame.samples:
            chunks += self._feed(_part(frame, last, frame.samples))
        return chunks

    def _feed(self, frame: av.AudioFrame) -> list[AudioChunk]:
        chunks: list[AudioChunk] = []
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._format:
            chunks += self._end_run()
            self._format = form
            self._graph = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            self._run_first, self._run_fed = self._count, 0
        assert self._graph is not None
        self._run_fed += frame.samples
        return chunks + [self._chunk(_samples(out)) for out in self._graph.resample(frame)]

    def _end_run(self) -> list[AudioChunk]:
        expected_ns = self._expected_ns()
        graph, self._graph, self._format = self._graph, None, None
        chunks = [self._chunk(_samples(out)) for out in graph.resample(None) if out is not None] if graph else []
        if graph and expected_ns is not None and expected_ns - self.end_ns > NS_PER_SAMPLE:
            # Of a run shorter than its filter the conversion gives nothing.
            chunks += self._fill_to(expected_ns)
        self._run_first, self._run_fed = self._count, 0
        return chunks

    def _fill_to(self, at_ns: int) -> list[AudioChunk]:
        """Masked zeros up to the sample nearest to `at_ns`."""
        assert self._origin_ns is not None
        missing = (at_ns - self._origin_ns + NS_PER_SAMPLE // 2) // NS_PER_SAMPLE - self._count
        chunks: list[AudioChunk] = []
        while missing > 0:
            chunks.append(self._chunk(_SILENCE[:missing], filled=True))
            missing -= len(chunks[-1].samples)
        self.filled_ns += sum(len(chunk.samples) for chunk in chunks) * NS_PER_SAMPLE
        self._run_first = self._count
        return chunks

    def _chunk(self, samples: np.ndarray, *, filled: bool = False) -> AudioChunk:
        assert self._origin_ns is not None
        first, start_ns = self._count, self.end_ns
        self._count += len(samples)
        self._sequence += 1
        return AudioChunk(
            stream=self._stream,
            epoch=self._epoch,
            sequence=self._sequence - 1,
            start_ns=start_ns,
            end_ns=self.end_ns,
            samples=samples,
            first_sample=first,
            filled=filled,
        )

    @staticmethod
    def _sound(frame: av.AudioFrame) -> np.ndarray | None:
        """Which samples (bool (samples,)) of a float frame are sound in every channel; None where all are."""
        name = frame.format.name
        dtype = _FLOATS.get(name)
        if dtype is None:
            return None
        channels = frame.layout.nb_channels
        if name.endswith("p") and channels > _MOST_PLANES:
            frame, channels = _mono(frame), 1
        planes = frame.planes
        count = frame.samples * channels // len(planes)
        values = [np.frombuffer(memoryview(plane), dtype, count) for plane in planes]
        with np.errstate(over="ignore", invalid="ignore"):
            # Where the sum of squares is small enough each sample is, and where one is no number the sum is none.
            if all(plane.dot(plane) <= _LOUDEST**2 for plane in values):
                return None
        sound = (np.abs(np.stack(values)) <= _LOUDEST).reshape(len(planes), frame.samples, -1).all(axis=(0, 2))
        return None if sound.all() else sound


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """The samples of a packed mono int16 frame, copied out of FFmpeg's buffer: int16 (n,)."""
    return np.frombuffer(memoryview(frame.planes[0]), np.int16, frame.samples).copy()


def _mono(frame: av.AudioFrame) -> av.AudioFrame:
    """A frame mixed down to one float channel at its own rate: the form in which any frame can be cut."""
    return av.AudioResampler(format="fltp", layout="mono", rate=frame.sample_rate).resample(frame)[0]


def _part(frame: av.AudioFrame, first: int, last: int) -> av.AudioFrame:
    """Samples [first, last) of a mono float frame."""
    samples = np.ascontiguousarray(frame.to_ndarray()[:, first:last], dtype=np.float32)
    part = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    part.sample_rate = frame.sample_rate
    return part
