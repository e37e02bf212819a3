from __future__ import annotations

import numpy as np
import pytest

from deploy.session.segment_input import segment_input
from stream.timeline.packets import AudioChunk, Faces, Modality, Packet, SpeechActivity, Word
from stream.timeline.segments import Revision, SegmentKind, Slice
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_SAMPLE, NS_PER_SECOND

UTTERANCE = UtteranceSettings()
END_NS = 2 * NS_PER_SECOND


def revision(kind: SegmentKind, *slices: Slice, start_ns: int = 0, end_ns: int = END_NS) -> Revision:
    return Revision(
        source_epoch=0,
        lane="speech",
        kind=kind,
        start_ns=start_ns,
        end_ns=end_ns,
        number=1,
        status="final",
        reason="window",
        decided_ns=end_ns,
        slices=slices,
    )


def slice_of(modality: Modality, *packets: Packet) -> Slice:
    return Slice(stream=modality.value, modality=modality, state="present" if packets else "absent", packets=packets)


def chunk(first_sample: int, count: int, *, filled: bool = False) -> AudioChunk:
    return AudioChunk(
        stream="audio",
        sequence=first_sample,
        start_ns=first_sample * NS_PER_SAMPLE,
        end_ns=(first_sample + count) * NS_PER_SAMPLE,
        samples=np.arange(first_sample, first_sample + count).astype(np.int16),
        first_sample=first_sample,
        filled=filled,
    )


def steps(probabilities: list[float]) -> Slice:
    return slice_of(
        Modality.ACTIVITY,
        *(
            SpeechActivity(
                stream="activity",
                sequence=k,
                start_ns=k * ACTIVITY_STEP_NS,
                end_ns=(k + 1) * ACTIVITY_STEP_NS,
                probability=p,
            )
            for k, p in enumerate(probabilities)
        ),
    )


def test_samples_are_cut_to_the_segment_and_a_gap_is_masked() -> None:
    audio = slice_of(Modality.AUDIO, chunk(0, 100), chunk(100, 100, filled=True), chunk(300, 100))
    got = segment_input(revision("utterance", audio, start_ns=50 * NS_PER_SAMPLE, end_ns=350 * NS_PER_SAMPLE), UTTERANCE)
    assert got.samples.shape == got.sample_mask.shape == (300,)
    assert got.samples[:50].tolist() == list(range(50, 100))
    assert got.samples[250:].tolist() == list(range(300, 350))
    assert got.sample_mask.sum() == 100
    assert not got.samples[150:250].any()


def test_an_utterance_is_speech_throughout_and_silence_never_is() -> None:
    heard = steps([0.9] * 60)
    assert segment_input(revision("utterance", heard), UTTERANCE).speech_ns == (0, END_NS)
    assert segment_input(revision("silence", heard), UTTERANCE).speech_ns is None


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        (range(0), None),
        (range(20, 27), None),
        (range(20, 28), (20 * ACTIVITY_STEP_NS - UTTERANCE.pad_ns, 28 * ACTIVITY_STEP_NS + UTTERANCE.pad_ns)),
        (range(62), (0, END_NS)),
    ],
    ids=["nobody", "shorter than the shortest", "padded", "clipped"],
)
def test_the_speech_of_a_window_is_padded_and_clipped(spoken: range, expected: tuple[int, int] | None) -> None:
    heard = steps([0.9 if k in spoken else 0.1 for k in range(62)])
    assert segment_input(revision("window", heard), UTTERANCE).speech_ns == expected


def test_streams_that_are_not_declared_are_absent_and_text_says_so_by_none() -> None:
    got = segment_input(revision("window"), UTTERANCE)
    assert (got.audio_state, got.video_state, got.text_state) == ("absent", "absent", None)
    assert (got.faces, got.words) == ((), ())


def test_faces_and_given_words_are_handed_on_in_order() -> None:
    frames = tuple(Faces(stream="video", sequence=k, start_ns=k, end_ns=k, faces=()) for k in range(3))
    words = tuple(Word(stream="words", sequence=k, start_ns=k, end_ns=k + 1, text=t) for k, t in enumerate(["so", "it", "is"]))
    got = segment_input(revision("line", slice_of(Modality.VIDEO, *frames), slice_of(Modality.TEXT, *words)), UTTERANCE)
    assert got.faces == frames
    assert [word.text for word in got.words] == ["so", "it", "is"]
    assert got.text_state == "present"
