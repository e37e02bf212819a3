"""Judges a model's reading of voices on a folder laid out as RAVDESS: recordings listed in `clips.csv`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from operators.datasets.ravdess import FILE, LABELS, TRAIN_ACTORS, VALID_ACTORS, SpokenClip, read_ravdess, read_samples
from operators.encoders.speech import SpeechEncoder
from operators.evaluation.as_segments import BATCH, emotions_of, judge, speech_segment
from operators.evaluation.judgement import JudgedClasses, JudgedSplit
from operators.evaluation.rows import check_every_class, number_of, read_table
from operators.evaluation.voice_robustness import DEGRADATIONS, Degradation, degraded
from operators.interface import EMOTIONS, SegmentInput, SpeechResult
from operators.model import AffectModel, EmotionReader
from operators.training.progress import Track, silently
from operators.voice_activity import SileroNetwork
from stream.errors import DatasetError, ModelFolderError
from stream.timeline.time import NS_PER_SAMPLE

COLUMNS = ("path", "actor", "emotion")
CALM = "calm"


def judge_voices(
    splits: Mapping[str, Sequence[SpokenClip]], model: AffectModel, track: Track = silently
) -> dict[str, JudgedSplit]:
    """Each split as the model judges it, from what the voice detector hears as speech.

    Judged by RAVDESS's eight emotions where the head knows calm, and, as `7`, with calm as neutral; splits that were not
    learnt from also in noise and at 8 kHz (`DEGRADATIONS`). Raises `DatasetError` where a recording can't be read,
    `ModelFolderError` where the model reads no voices.
    """
    reader = _reader(model)
    operators = SpeechEncoder(), SileroNetwork()
    return {name: _judge_split(clips, model, reader, operators, track, name) for name, clips in splits.items()}


def read_voices(folder: Path) -> dict[str, list[SpokenClip]]:
    """The recordings of each split, by actor: `train` are those that `affectstream train speech` learns from, `valid` those
    it is calibrated on, `test` all others. Raises `DatasetError` that names the list's line, column or file at fault.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder}", found="no folder", expected=f"a folder with {FILE}", fix="check the path")
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"folder {folder}", found=f"no {FILE}", expected=f"RAVDESS's recordings listed in {FILE}")
    actors = {number_of(cells["actor"], "actor", f"table {path}, line {line}") for line, cells in read_table(path, COLUMNS)}
    groups = {"train": actors & set(TRAIN_ACTORS), "valid": actors & set(VALID_ACTORS)}
    groups["test"] = actors - groups["train"] - groups["valid"]
    splits = {name: read_ravdess(folder, sorted(some)) for name, some in groups.items() if some}
    for name, clips in splits.items():
        check_every_class({LABELS[clip.emotion] for clip in clips}, LABELS, f"split {name} of {folder}")
    return splits


def own_probabilities(reader: EmotionReader, features: Tensor) -> np.ndarray:
    """Calibrated probabilities float32 (n, k) of a head's own labels, some of which are published as one; features (n, d)."""
    columns = []
    for own in reader.about.labels:
        # Published under a name that no other label has, it comes out alone.
        apart = tuple(EMOTIONS[0] if label == own else EMOTIONS[1] for label in reader.about.labels)
        about = msgspec.structs.replace(reader.about, labels=apart)
        columns.append(EmotionReader(head=reader.head, about=about).probabilities(features)[:, 0])
    return np.stack(columns, 1)


def _judge_split(
    clips: Sequence[SpokenClip],
    model: AffectModel,
    reader: EmotionReader,
    operators: tuple[SpeechEncoder, SileroNetwork],
    track: Track,
    name: str,
) -> JudgedSplit:
    truth = np.array([clip.emotion for clip in clips])
    merged = np.array([EMOTIONS.index(_published(LABELS[k])) for k in truth])
    own, seven, unheard = _read_all(clips, model, reader, operators, track(clips, name))
    judged = published = JudgedClasses(labels=EMOTIONS, truth=merged, probabilities=seven)
    further = {}
    if own is not None:
        judged = JudgedClasses(labels=LABELS, truth=truth, probabilities=own)
        further["7"] = published
    # Of what was learnt, how it would have sounded worse says nothing of new voices.
    for condition, degradation in DEGRADATIONS.items() if name != "train" else ():
        shown = track(clips, f"{name}, {condition}")
        worse, worse_seven, _ = _read_all(clips, model, reader, operators, shown, degradation)
        further[condition] = msgspec.structs.replace(judged, probabilities=worse_seven if worse is None else worse)
    return JudgedSplit(
        judged=judged,
        items=[f"{clip.path.parent.name}/{clip.path.name}" for clip in clips],
        further=further,
        counts={"without_speech": unheard},
    )


def _read_all(
    clips: Sequence[SpokenClip],
    model: AffectModel,
    reader: EmotionReader,
    operators: tuple[SpeechEncoder, SileroNetwork],
    shown: Iterable[SpokenClip],
    degradation: Degradation | None = None,
) -> tuple[np.ndarray | None, np.ndarray, int]:
    """What the model says of recordings, degraded where wanted, and in how many of them no speech was heard.

    Probabilities of RAVDESS's eight emotions (n, 8), None where the head knows no calm, and of the published ones (n, 7).
    """
    rows: list[np.ndarray] = []
    batch: list[tuple[SegmentInput, SpeechResult]] = []
    unheard = 0
    with _inputs_of(reader) as features:
        for number, clip in enumerate(shown):
            segment, heard = _listen(clip, *operators, degradation)
            batch.append(segment)
            unheard += not heard
            if len(batch) == BATCH or number == len(clips) - 1:
                rows.append(emotions_of(judge(model, batch, "voices")))
                batch.clear()
    own = None
    if CALM in reader.about.labels:
        with torch.inference_mode():
            own = own_probabilities(reader, torch.cat(features))
        own = own[:, [reader.about.labels.index(label) for label in LABELS]]
    return own, np.concatenate(rows), unheard


def _listen(
    clip: SpokenClip, encoder: SpeechEncoder, network: SileroNetwork, degradation: Degradation | None
) -> tuple[tuple[SegmentInput, SpeechResult], bool]:
    samples = read_samples(clip.path)
    if not len(samples):
        raise DatasetError(f"recording {clip.path}", found="no sample", expected="sound")
    if degradation is not None:
        samples = degraded(samples, degradation)
    segment, heard = speech_segment(samples, network)
    first_ns, last_ns = segment.speech_ns or (0, segment.end_ns)
    states = encoder.encode(samples[first_ns // NS_PER_SAMPLE : last_ns // NS_PER_SAMPLE], first_ns)
    return (segment, SpeechResult(states=states, transcript=None)), heard


@contextmanager
def _inputs_of(reader: EmotionReader) -> Iterator[list[Tensor]]:
    """The features (m, d) that the head is asked about meanwhile, for what the model does not publish."""
    seen: list[Tensor] = []
    hook = reader.head.register_forward_pre_hook(lambda _head, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        hook.remove()


def _reader(model: AffectModel) -> EmotionReader:
    if model._audio is None:
        raise ModelFolderError(f"model {model.name}", found="no part that reads voices", fix="give --model another folder")
    return model._audio.emotion


def _published(label: str) -> str:
    return "neutral" if label == CALM else label
