"""Fits how far words are trusted beside the voice, and measures what is fused; no part of the model changes.

No data here has words, voice and face of one person with a label. What there is: RAVDESS, whose actors say two neutral
sentences in every emotion, so that the words tell nothing beside the voice; and pieces of different people who show the
same emotion (a voice of RAVDESS, an utterance of MELD, a face of FER2013), composed, so that they err independently. Words
in life lie between the two: the trust in them is fitted to equal parts of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from operators.datasets.fer2013 import read_fer2013
from operators.datasets.meld import read_meld
from operators.datasets.mosi import Opinions, read_mosi
from operators.datasets.ravdess import LABELS, VALID_ACTORS, SpokenClip, read_ravdess, read_samples
from operators.encoders.speech import SpeechEncoder
from operators.evaluation.as_segments import (
    BATCH,
    NOTHING_HEARD,
    emotions_of,
    face_segment,
    judge,
    speech_segment,
    text_segment,
)
from operators.evaluation.bootstrap import figures_with_intervals
from operators.evaluation.calibration_interval import calibration_figures
from operators.evaluation.metrics import expected_calibration_error, unweighted_average_recall
from operators.evaluation.text import as_transcribed
from operators.fusion.decision import Opinion, fuse_opinions
from operators.interface import EMOTIONS, AffectResult, SegmentInput
from operators.model import AffectModel
from operators.model_description import Modality, ValenceMap, read_description
from operators.model_folder import load_model
from operators.training.assembly import begin_folder, put_fusion
from operators.training.progress import Track, silently
from operators.training.text_figures import covered_by_others
from operators.transcription.moonshine import MoonshineTranscriber
from operators.transcription.operator import SpeechStage
from operators.voice_activity import SileroNetwork
from stream.errors import ModelFolderError

TRUSTS: Final = np.round(np.arange(0.05, 1.001, 0.05), 2)
"""What is tried: finer steps make no difference that a thousand rows could show."""
COMPOSITIONS: Final = 4
"""How often each voice is put together with others' words and faces."""
MODALITIES: Final[tuple[Modality, ...]] = ("text", "audio", "video")

Said = dict[Modality, np.ndarray]
"""What each modality says of one row: probabilities (7,); a modality that says nothing is not there."""


class Rows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What was said of rows, their true emotions int64 (n,), and the group of each (n,): rows of an actor are alike."""

    said: list[Said]
    truth: np.ndarray
    groups: np.ndarray


class Heads(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is known of each modality: its reliability, and the frequencies (7,) of emotions that it was calibrated on."""

    reliability: Mapping[Modality, float]
    prior: Mapping[Modality, np.ndarray]

    def fused(self, said: Said, trust: float) -> np.ndarray:
        """Probabilities (7,) by the fusion that runs live, words trusted so far, everything seen and heard in full."""
        emotions, _ = fuse_opinions(
            {
                name: Opinion(
                    emotions=row,
                    reliability=self.reliability[name],
                    coverage=1.0,
                    trust=trust if name == "text" else 1.0,
                    prior=self.prior[name],
                )
                for name, row in said.items()
            }
        )
        assert emotions is not None  # a head with no reliability was refused
        return emotions


def train_fusion(data: Path, output: Path, *, seed: int = 0, track: Track = silently) -> dict[str, float]:
    """Puts trust and frequencies into the model folder `output`, which begins as the one that ships; the figures.

    `data` holds ravdess/, meld/, fer2013/ and mosi/. Raises `DatasetError` where something of them is missing,
    `ModelFolderError` where the model does not read all three modalities.
    """
    clips = read_ravdess(data / "ravdess", VALID_ACTORS)
    utterances, faces = read_meld(data / "meld", "dev"), read_fer2013(data / "fer2013", "valid")
    begin_folder(output, alone=False)
    model, description = load_model(output), read_description(output)
    for name in MODALITIES:
        part = description.parts.get(name)
        if part is None or part.emotion.reliability <= 0:
            raise ModelFolderError(
                f"model folder {output}", found=f"no {name} that tells anything", fix="train that part first"
            )
    own, voices = _heard(model, clips, track)
    words = emotions_of(_judged(model, [text_segment(text) for text in utterances.texts], "text"))
    features = model.face_encoder.infer(faces.images)
    shown = emotions_of(_judged(model, [face_segment(*row) for row in zip(faces.images, features, strict=True)], "faces"))
    heads = Heads(
        reliability={name: description.parts[name].emotion.reliability for name in MODALITIES},
        prior={
            "text": _frequencies(utterances.emotions),
            "audio": _frequencies(own.truth),
            "video": _frequencies(faces.emotions),
        },
    )
    composed = compose(own, voices, (words, utterances.emotions), (shown, faces.emotions), seed)
    pairs = msgspec.structs.replace(composed, said=[{"text": s["text"], "audio": s["audio"]} for s in composed.said])
    losses = _losses(heads, own), _losses(heads, pairs)
    trust = best_trust(losses, own.groups, pairs.groups)
    by_others = {
        group: best_trust(losses, own.groups, pairs.groups, without=group) for group in sorted(set(own.groups.tolist()))
    }
    metrics = _prefixed("ravdess_valid_text_audio", _figures(heads, own, by_others))
    alone = msgspec.structs.replace(own, said=[{"audio": said["audio"]} for said in own.said])
    metrics |= _prefixed("ravdess_valid_audio", _figures(heads, alone, by_others))
    for count in (1, 2, 3):
        for names in itertools.combinations(MODALITIES, count):
            subset = msgspec.structs.replace(composed, said=[{name: s[name] for name in names} for s in composed.said])
            figures = _figures(heads, subset, by_others)
            metrics |= {f"composed_{'_'.join(names)}_{name}": value for name, value in figures.items() if "recall" not in name}
    if description.fusion.sentiment_from_valence is not None:
        metrics |= _valence_figures(model, description.fusion.sentiment_from_valence, read_mosi(data / "mosi", "valid"))
    put_fusion(
        output,
        msgspec.structs.replace(
            description.fusion,
            trust={"text": trust},
            frequencies={
                name: {label: round(float(value), 4) for label, value in zip(EMOTIONS, heads.prior[name], strict=True)}
                for name in MODALITIES
            },
            data=f"RAVDESS actors {VALID_ACTORS[0]}-{VALID_ACTORS[-1]} ({len(clips)} clips), alone and composed with MELD dev",
            metrics={name: round(value, 4) for name, value in metrics.items()},
            command=f"affectstream train fusion --seed {seed}",
        ),
    )
    return {"trust_text": trust, **metrics}


def compose(
    own: Rows, voices: np.ndarray, words: tuple[np.ndarray, np.ndarray], faces: tuple[np.ndarray, np.ndarray], seed: int
) -> Rows:
    """Each voice (n, 7) several times with words and a face of the same emotion, drawn out of (probabilities, emotions)."""
    random = np.random.default_rng(seed)
    said: list[Said] = []
    for voice, emotion in zip(np.tile(voices, (COMPOSITIONS, 1)), np.tile(own.truth, COMPOSITIONS), strict=True):
        drawn = [pool[random.choice(np.flatnonzero(classes == emotion))] for pool, classes in (words, faces)]
        said.append({"text": drawn[0], "audio": voice, "video": drawn[1]})
    return Rows(said=said, truth=np.tile(own.truth, COMPOSITIONS), groups=np.tile(own.groups, COMPOSITIONS))


def best_trust(
    losses: tuple[np.ndarray, np.ndarray], groups: np.ndarray, composed_groups: np.ndarray, without: int | None = None
) -> float:
    """Of `TRUSTS` the one with the least mean loss, equal parts of both: (n, t) own, (m, t) composed; all but one group."""
    kept = (losses[0][groups != without], losses[1][composed_groups != without]) if without is not None else losses
    return float(TRUSTS[np.argmin(kept[0].mean(0) + kept[1].mean(0))])


def _losses(heads: Heads, rows: Rows) -> np.ndarray:
    """Negative log-likelihood (n, t) of each row's truth under each of `TRUSTS`."""
    true = [[heads.fused(said, trust)[k] for trust in TRUSTS] for said, k in zip(rows.said, rows.truth, strict=True)]
    losses: np.ndarray = -np.log(np.maximum(np.array(true, np.float64), 1e-6))
    return losses


def _figures(heads: Heads, rows: Rows, trust_of_group: Mapping[int, float]) -> dict[str, float]:
    """Accuracy, recall, calibration error with their 95 % intervals, each row under the trust that other groups set.

    `calibration_error_if_perfect` is the mean error that these probabilities would have if they were true: with few rows
    chance alone makes one.
    """
    probabilities = np.stack(
        [heads.fused(said, trust_of_group[group]) for said, group in zip(rows.said, rows.groups.tolist(), strict=True)]
    )
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    right = predicted == rows.truth

    def measure(chosen: np.ndarray) -> dict[str, float]:
        return {
            "accuracy": float(right[chosen].mean()),
            "unweighted_recall": unweighted_average_recall(rows.truth[chosen], predicted[chosen]),
        }

    random = np.random.default_rng(0)
    by_chance = [expected_calibration_error(confidence, random.random(len(right)) < confidence) for _ in range(200)]
    found = figures_with_intervals(measure, len(right)) | calibration_figures(confidence, right)
    return found | {"calibration_error_if_perfect": float(np.mean(by_chance))}


def _valence_figures(model: AffectModel, mapping: ValenceMap, opinions: Opinions) -> dict[str, float]:
    """How often sentiment out of valence lies in its interval on MOSI's valid rows, whose width the other videos set."""
    results = _judged(model, [text_segment(as_transcribed(text)) for text in opinions.texts], "text")
    valences = np.array([result.valence for result in results])
    covered = covered_by_others(opinions.sentiment - mapping.slope * valences, opinions.videos, mapping.level)
    name = f"mosi_valid_coverage_at_{mapping.level:g}_out_of_valence"
    return figures_with_intervals(lambda rows: {name: float(covered[rows].mean())}, len(covered))


def _heard(model: AffectModel, clips: Sequence[SpokenClip], track: Track) -> tuple[Rows, np.ndarray]:
    """Clips as the live path hears them: what their own voice and words say, and the voices' opinions (n, 7)."""
    encoder, network = SpeechEncoder(), SileroNetwork()
    stage = SpeechStage(encoder, MoonshineTranscriber(encoder))
    said: list[Said] = []
    for clip in track(clips, "Recordings"):
        segment, _ = speech_segment(read_samples(clip.path), network)
        (speech,) = stage.infer([msgspec.structs.replace(segment, text_state=None)])
        (voice,) = judge(model, [(segment, msgspec.structs.replace(speech, transcript=None))], "voices")
        row: Said = {"audio": emotions_of([voice])[0]}
        if speech.transcript is not None and speech.transcript.words:
            text = " ".join(word.text for word in speech.transcript.words)
            row["text"] = emotions_of(_judged(model, [text_segment(text)], "text"))[0]
        said.append(row)
    published = [LABELS[clip.emotion].replace("calm", "neutral") for clip in clips]
    truth = np.array([EMOTIONS.index(name) for name in published])
    rows = Rows(said=said, truth=truth, groups=np.array([clip.actor for clip in clips]))
    return rows, np.stack([row["audio"] for row in said])


def _judged(model: AffectModel, segments: Sequence[SegmentInput], part: str) -> list[AffectResult]:
    batches = (segments[first : first + BATCH] for first in range(0, len(segments), BATCH))
    return [result for batch in batches for result in judge(model, [(segment, NOTHING_HEARD) for segment in batch], part)]


def _frequencies(emotions: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.bincount(emotions, minlength=len(EMOTIONS)) / len(emotions)
    return shares


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}
