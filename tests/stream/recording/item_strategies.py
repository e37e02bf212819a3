"""Every kind of entry that can be recorded, at random."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream.recording.entries import Closed, Dropped, NoPicture, Shed
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Face,
    Faces,
    Modality,
    Mouths,
    SpeechActivity,
    StreamActive,
    StreamEnd,
    StreamIdle,
    VideoFrame,
    Word,
)

TIMES = st.integers(-(1 << 62), 1 << 62)
NAMES = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False)
FLAGS = st.booleans()


def _arrays(dtype: type, *shapes: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    return st.sampled_from(shapes).flatmap(
        lambda shape: hnp.arrays(dtype, shape, elements={"allow_nan": False} if dtype is np.float32 else None)
    )


def _packet(kind: type, **fields: st.SearchStrategy) -> st.SearchStrategy:
    common = {
        "stream": NAMES,
        "epoch": st.integers(0, 9),
        "sequence": st.integers(0, 1 << 40),
        "start_ns": TIMES,
        "end_ns": TIMES,
    }
    return st.builds(kind, **common, **fields)


MOUTHS = st.builds(Mouths, times_ns=_arrays(np.int64, (0,), (2,)), crops=_arrays(np.uint8, (0, 32, 32), (2, 4, 4)))
FACE = st.builds(
    Face,
    track=st.integers(0, 99),
    score=FLOATS,
    box=st.tuples(FLOATS, FLOATS, FLOATS, FLOATS),
    landmarks=_arrays(np.float32, (5, 2)),
    crop=_arrays(np.uint8, (48, 48), (2, 2)),
    feature=st.none() | _arrays(np.float32, (0,), (8,)),
    mouths=st.none() | MOUTHS,
)
ENTRIES = st.one_of(
    _packet(VideoFrame, image=st.builds(NoPicture)),
    _packet(AudioChunk, samples=_arrays(np.int16, (0,), (160,)), first_sample=st.integers(0, 1 << 40), filled=FLAGS),
    _packet(SpeechActivity, probability=FLOATS, masked=FLAGS),
    _packet(Word, text=st.text(max_size=20), estimated=FLAGS, confidence=st.none() | FLOATS),
    _packet(Faces, faces=st.lists(FACE, max_size=2).map(tuple)),
    st.builds(Bound, stream=NAMES, bound_ns=TIMES),
    *(st.builds(kind, stream=NAMES, at_ns=TIMES) for kind in (StreamIdle, StreamActive, StreamEnd)),
    st.builds(EpochStart, streams=st.lists(NAMES, max_size=3).map(tuple), epoch=st.integers(0, 99), at_ns=TIMES),
    st.builds(
        Dropped, stream=NAMES, reason=st.sampled_from(["refused", "policy", "shed", "sampling"]), count=st.integers(0, 99)
    ),
    st.builds(
        Shed,
        source_epoch=st.integers(0, 9),
        lane=NAMES,
        start_ns=TIMES,
        number=st.integers(0, 99),
        status=st.sampled_from(["provisional", "final", "amended"]),
        modalities=st.lists(st.sampled_from(Modality), max_size=2).map(tuple),
        silent=FLAGS,
    ),
    st.builds(Closed),
)
