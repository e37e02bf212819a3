"""Fits the active speaker's projections on talking faces of GRID, and judges them on people they were not fitted on."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from safetensors.numpy import save_file

from operators.evaluation.bootstrap import bootstrap_intervals
from operators.evaluation.metrics import expected_calibration_error
from operators.faces.speaker import (
    MOUTH_DIM,
    SOUND_DIM,
    STEP_NS,
    SpeakerSettings,
    SpeakerWeights,
    lagged_fit,
    log_evidence,
    mouth_features,
    sound_features,
    visible_steps,
)
from operators.faces.speaker_folder import WEIGHTS_FILE, SpeakerDescription, write_speaker_description
from operators.model_description import WeightsDescription
from operators.training.composed_faces import SIDES, Clip, View, read_clips
from operators.training.speaker_card import speaker_card
from stream.timeline.packets import Mouths
from stream.timeline.time import NS_PER_SAMPLE, from_seconds

COMPONENTS: Final = 8
RIDGE: Final = 0.05
"""Added to the variances as a share of their mean: 9 clips have few frames for 126 dimensions."""
SAME_PERSON: Final = (frozenset({"id2_vcd_swwp2s", "pwij3p"}),)
"""Clips of one speaker, as far as one can see: neither is trained on where the other is judged."""
RESAMPLES: Final = 200
"""Of the bootstrap over pairs: there are 55 of them."""
SPANS_S: Final = ((0.0, 3.0), (0.4, 2.4), (0.6, 2.1), (0.6, 1.6), (1.0, 2.0))
"""What of a clip is judged: all of it, and shorter parts with speech."""


class Features(msgspec.Struct, frozen=True, eq=False):
    """Of each clip by its name: the features of its sound (n, 50), and of its mouth (n, 126) in each view."""

    sound: dict[str, np.ndarray]
    mouth: dict[tuple[str, View], np.ndarray]


class Case(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Two faces and a voice: the fits (2, 7) of the faces, and which of them speaks (None: neither)."""

    pair: tuple[str, str]
    sizes: tuple[float, float]
    """Of the first of the pair, then of the second."""
    first_side: str
    span_s: tuple[float, float]
    fits: np.ndarray
    steps: int
    speaker: int | None


def fit_projections(clips: Sequence[Clip], features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Canonical correlation between mouths and sound, each clip about its own mean: float32 (126, 8) and (50, 8)."""
    mouth, sound, both = np.zeros((MOUTH_DIM,) * 2), np.zeros((SOUND_DIM,) * 2), np.zeros((MOUTH_DIM, SOUND_DIM))
    for clip in clips:
        for view in clip.mouths:
            x, y = features.mouth[clip.name, view], features.sound[clip.name]
            x, y = x - x.mean(0), y[: len(x)] - y[: len(x)].mean(0)
            mouth, sound, both = mouth + x.T @ x, sound + y.T @ y, both + x.T @ y
    whiten_mouth, whiten_sound = _whitening(mouth), _whitening(sound)
    u, _, v = np.linalg.svd(whiten_mouth @ both @ whiten_sound)
    return (whiten_mouth @ u[:, :COMPONENTS]).astype(np.float32), (whiten_sound @ v[:COMPONENTS].T).astype(np.float32)


def cases_of(clips: Sequence[Clip], features: Features) -> list[Case]:
    """Every pair of clips, each voice in turn and neither, under projections that neither person was used for."""
    cases = []
    for left, right in itertools.combinations(clips, 2):
        unseen = [clip for clip in clips if not _same_person(clip, left) and not _same_person(clip, right)]
        mouth, sound = fit_projections(unseen, features)
        for view, span_s in itertools.product(left.mouths, SPANS_S):
            side, sizes, step = view
            if step != 1:
                continue
            views = view, View(SIDES[side == "left"], sizes, step)
            faces = [_mouth_in(clip.mouths[view], span_s, mouth) for clip, view in zip((left, right), views, strict=True)]
            # A voice out of time is nobody's, and yet of the same kind.
            for voice, shift in itertools.product((0, 1), (0, len(left.samples) // 2)):
                heard = _sound_in(np.roll((left, right)[voice].samples, shift), span_s, sound)
                cases.append(
                    Case(
                        pair=(left.name, right.name),
                        sizes=sizes if side == "left" else sizes[::-1],
                        first_side=side,
                        span_s=span_s,
                        fits=np.stack([lagged_fit(projected, heard, seen) for projected, seen in faces]),
                        steps=min(int(seen.sum()) for _, seen in faces),
                        speaker=None if shift else voice,
                    )
                )
    return cases


def fit_certainty(cases: Sequence[Case], absent_share: float = 0.2) -> tuple[float, float]:
    """Gain and level under which the cases are likeliest, where in `absent_share` of them neither speaks."""
    present = np.array([case.speaker is not None for case in cases])
    weights = np.where(present, (1 - absent_share) / present.sum(), absent_share / max(1, (~present).sum()))
    options = list(itertools.product(np.geomspace(0.05, 2, 16), np.linspace(0.05, 0.4, 15)))
    places = np.array([_place(case) for case in cases])[:, None]
    costs = [
        -weights @ np.log(np.take_along_axis(probabilities_of(cases, *option), places, axis=1)[:, 0] + 1e-6)
        for option in options
    ]
    gain, level = options[int(np.argmin(costs))]
    return float(gain), float(level)


def figures(cases: Sequence[Case], certainties: np.ndarray, certain: float) -> dict[str, float]:
    """Of cases in which one speaks, with probabilities (n, 3) of first, second, neither: how often the likelier face is right,
    how often it is certain enough and how often it is right then; of those where neither does, how often a face is named.
    """
    one = np.array([case.speaker is not None for case in cases])
    truth = np.array([_place(case) for case in cases])
    best = certainties[:, :2].argmax(1)
    certainty = certainties[:, :2].max(1)
    sure = certainty >= certain
    right = best == truth
    return {
        "cases": int(one.sum()),
        "right": float(right[one].mean()),
        "sure": float(sure[one].mean()),
        "right_where_sure": float(right[one & sure].mean()),
        "named_where_neither_speaks": float(sure[~one].mean()) if (~one).any() else 0.0,
        "calibration_error": expected_calibration_error(certainty[one], right[one]),
    }


def with_intervals(cases: Sequence[Case], certainties: np.ndarray, certain: float) -> dict[str, float]:
    """The figures, those of right and sure with their 95 % intervals by a bootstrap over pairs, whose cases are alike."""
    rows_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k, case in enumerate(cases):
        rows_of[case.pair].append(k)
    pairs = list(rows_of.values())

    def measure(drawn: np.ndarray) -> dict[str, float]:
        rows = [row for pair in drawn for row in pairs[pair]]
        found = figures([cases[row] for row in rows], certainties[rows], certain)
        return {name: found[name] for name in ("right", "sure", "right_where_sure")}

    intervals = bootstrap_intervals(measure, len(pairs), resamples=RESAMPLES)
    found = {}
    for name, value in figures(cases, certainties, certain).items():
        found[name] = value
        if name in intervals:
            found[f"{name}_low"], found[f"{name}_high"] = intervals[name]
    return found


def features_of(clips: Sequence[Clip]) -> Features:
    """The features of clips on the grid from their start on."""
    return Features(
        {clip.name: sound_features(clip.samples, _grid(clip)) for clip in clips},
        {(c.name, view): mouth_features([m], _grid(c)[: _steps(m)]) for c in clips for view, m in c.mouths.items()},
    )


def cross_fitted(cases: Sequence[Case]) -> np.ndarray:
    """Float64 (n, 3): probability of the first of the pair, the second, neither; what a score means is learned from others."""
    probabilities = np.zeros((len(cases), 3))
    for pair in sorted({case.pair for case in cases}):
        judged = [k for k, case in enumerate(cases) if case.pair == pair]
        gain, level = fit_certainty([case for case in cases if not set(case.pair) & set(pair)])
        probabilities[judged] = probabilities_of([cases[k] for k in judged], gain, level)
    return probabilities


def train_speaker(data: Path, output: Path) -> dict[str, dict[str, float]]:
    """Writes weights, description and card into the folder `output`; the figures by span, size and place, cross-validated.

    Raises `DatasetError` where there are too few clips.
    """
    clips = read_clips(data)
    features = features_of(clips)
    cases = cases_of(clips, features)
    probabilities = cross_fitted(cases)
    groups: dict[str, list[int]] = defaultdict(list)
    for k, case in enumerate(cases):
        groups["all"].append(k)
        groups[f"{case.span_s[0]:g} to {case.span_s[1]:g} s"].append(k)
        if case.span_s == SPANS_S[0]:
            groups[f"3 s, sizes {case.sizes[0]:g} and {case.sizes[1]:g}, first {case.first_side}"].append(k)
            for name in case.pair:
                groups[f"3 s, pairs with {name}"].append(k)
    certain = SpeakerSettings().certain
    report = {
        name: with_intervals([cases[k] for k in chosen], probabilities[chosen], certain) for name, chosen in groups.items()
    }
    mouth, sound = fit_projections(clips, features)
    output.mkdir(parents=True, exist_ok=True)
    certainty = np.array(fit_certainty(cases), np.float32)
    save_file({"mouth": mouth, "sound": sound, "certainty": certainty}, output / WEIGHTS_FILE)
    description = SpeakerDescription(
        format=1,
        weights=WeightsDescription(
            sha256=hashlib.sha256((output / WEIGHTS_FILE).read_bytes()).hexdigest(),
            licence="CC BY 4.0, as stated by a derivative",
            use="any",
            data=f"GRID, {len(clips)} clips",
        ),
        metrics={name: {figure: round(value, 4) for figure, value in values.items()} for name, values in report.items()},
        command="affectstream train speaker --data DIR",
    )
    write_speaker_description(output, description)
    (output / "card.md").write_text(speaker_card(description), encoding="utf-8")
    return report


def probabilities_of(cases: Sequence[Case], gain: float, level: float) -> np.ndarray:
    """Float64 (n, 3): the first of the pair, the second, neither."""
    weights = SpeakerWeights(mouth=np.zeros(0), sound=np.zeros(0), gain=gain, level=level)
    fits, steps = np.stack([case.fits for case in cases]), np.array([case.steps for case in cases])
    logs = log_evidence(fits, steps[:, None], weights)
    logs = np.concatenate([logs, np.zeros((len(cases), 1))], axis=1)
    probabilities: np.ndarray = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
    return probabilities


def _mouth_in(mouths: Mouths, span_s: tuple[float, float], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mouth projected (n, 8) on the grid of a span, and bool (n,), where it was seen."""
    start_ns, end_ns = _span_ns(span_s)
    inside = (mouths.times_ns >= start_ns) & (mouths.times_ns < end_ns)
    part = [Mouths(times_ns=mouths.times_ns[inside], crops=mouths.crops[inside])]
    grid_ns = np.arange(start_ns, end_ns, STEP_NS)
    return mouth_features(part, grid_ns) @ weights, visible_steps(part, grid_ns, SpeakerSettings().max_gap_ns)


def _sound_in(samples: np.ndarray, span_s: tuple[float, float], weights: np.ndarray) -> np.ndarray:
    start_ns, end_ns = _span_ns(span_s)
    heard = samples[start_ns // NS_PER_SAMPLE : end_ns // NS_PER_SAMPLE]
    projected: np.ndarray = sound_features(heard, np.arange(start_ns, end_ns, STEP_NS) - start_ns) @ weights
    return projected


def _span_ns(span_s: tuple[float, float]) -> tuple[int, int]:
    return from_seconds(span_s[0]), from_seconds(span_s[1])


def _place(case: Case) -> int:
    return 2 if case.speaker is None else case.speaker


def _same_person(one: Clip, other: Clip) -> bool:
    return one.name == other.name or any({one.name, other.name} <= clips for clips in SAME_PERSON)


def _whitening(moments: np.ndarray) -> np.ndarray:
    moments = moments + RIDGE * np.trace(moments) / len(moments) * np.eye(len(moments))
    values, vectors = np.linalg.eigh(moments)
    whitening: np.ndarray = vectors / np.sqrt(values) @ vectors.T
    return whitening


def _grid(clip: Clip) -> np.ndarray:
    return np.arange(0, len(clip.samples) * NS_PER_SAMPLE, STEP_NS)


def _steps(mouths: Mouths) -> int:
    return int(mouths.times_ns[-1] // STEP_NS) + 1
