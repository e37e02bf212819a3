"""What a model said of labelled rows beside the truth, and the figures of it with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from operators.evaluation.bootstrap import RESAMPLES, SEED, bootstrap_intervals
from operators.evaluation.calibration_interval import calibration_error_interval
from operators.evaluation.metrics import class_metrics, confusion_matrix, expected_calibration_error, sentiment_metrics

Measure = Callable[[np.ndarray], dict[str, float]]


class Calibration(NamedTuple):
    """The name of a calibration error, how sure of each row one was, float (n,), and whether rightly, bool (n,)."""

    name: str
    confidence: np.ndarray
    right: np.ndarray


DEFINITIONS = {
    "rows": "how many were judged",
    "accuracy": "share of the rows whose most probable class is the true one",
    "unweighted_recall": "mean over the classes of the share of their rows that was found; chance is 1 / classes",
    "weighted_f1": "mean of the classes' F1, weighted by their share of the truth",
    "macro_f1": "mean of the classes' F1",
    "calibration_error": "expected calibration error (ECE): rows in 15 bins of equal width by the top class's probability; "
    "sum over bins of (share of the rows) x |mean probability - share right|; chance alone makes one on few rows, for which "
    "its interval allows",
    "mae": "mean absolute error of sentiment in [-3, 3]",
    "corr": "Pearson correlation of sentiment; not defined for a constant prediction",
    "acc7": "share whose sentiment, rounded to -3 .. 3 (half to even), is right",
    "acc2_has0": "share whose sign is right, 0 counted as positive",
    "acc2_non0": "share whose sign is right, without the rows whose truth is 0",
    "f1_has0": "F1 of the two signs weighted by the truth, 0 counted as positive",
    "f1_non0": "F1 of the two signs weighted by the truth, without the rows whose truth is 0",
    "interval_coverage": "share of the rows whose truth lies in the predicted interval",
    "interval_level": "share that the interval says it covers",
    "interval_error": "|interval_coverage - interval_level|: the calibration error of the interval",
    "without_speech": "recordings in which the voice detector found no speech; they were read whole",
    "unanswered": "clips of which nothing could be said; they count as sentiment 0, or as equally probable emotions",
}
"""What each figure is, by its name without a suffix."""
SUFFIXES = {
    "7": "with calm counted as neutral, as it is published",
    "noise_10_db": "of the recordings in pink noise 10 dB fainter than the voice",
    "noise_0_db": "of the recordings in pink noise as loud as the voice",
    "8_khz": "of the recordings without what lies above 4 kHz, as a telephone has it",
    "capitals": "of the texts as the file has them, in capitals without punctuation",
}
"""What the same rows were also judged by."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its bootstrap interval; without one where it is a count or a setting."""

    value: float
    low: float | None = None
    high: float | None = None


class JudgedClasses(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rows with a true class: `truth` int64 (n,), indices into `labels`; `probabilities` float32 (n, k) that add up to 1."""

    labels: tuple[str, ...]
    truth: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each row, int64 (n,)."""
        found: np.ndarray = self.probabilities.argmax(1)
        return found

    @property
    def right(self) -> np.ndarray:
        """Which rows were found, bool (n,)."""
        found: np.ndarray = self.predicted == self.truth
        return found

    @property
    def confusion(self) -> np.ndarray:
        """Counts int64 (k, k), a row for each true class."""
        return confusion_matrix(self.truth, self.predicted, len(self.labels))

    def measure(self) -> Measure:
        """A function of some of the rows, int64 (m,), that gives their metrics."""
        predicted = self.predicted

        def metrics(rows: np.ndarray) -> dict[str, float]:
            matrix = confusion_matrix(self.truth[rows], predicted[rows], len(self.labels))
            return class_metrics(matrix)

        return metrics

    def calibration(self) -> Calibration:
        """Its calibration error is that of the most probable class."""
        return Calibration("calibration_error", self.probabilities.max(1), self.right)


class JudgedSentiment(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rows with a true sentiment, float64 (n,) each: truth, prediction, the ends of its interval that covers `level`."""

    truth: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float

    @property
    def confusion(self) -> np.ndarray:
        """Counts int64 (7, 7) of the sentiment rounded to -3 .. 3, a row for each true one."""
        truth, predicted = (np.round(np.clip(values, -3, 3)).astype(np.int64) + 3 for values in (self.truth, self.predicted))
        return confusion_matrix(truth, predicted, 7)

    @property
    def covered(self) -> np.ndarray:
        """Which truths lie in their intervals, bool (n,)."""
        found: np.ndarray = (self.low <= self.truth) & (self.truth <= self.high)
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the rounded sentiments."""
        return tuple(f"{value:+d}" if value else "0" for value in range(-3, 4))

    def measure(self) -> Measure:
        """A function of some of the rows, int64 (m,), that gives their metrics."""
        covered = self.covered

        def metrics(rows: np.ndarray) -> dict[str, float]:
            coverage = {"interval_coverage": float(covered[rows].mean())}
            return sentiment_metrics(self.truth[rows], self.predicted[rows]) | coverage

        return metrics

    def calibration(self) -> Calibration:
        """Its calibration error is that of the interval, which is as sure of each row."""
        return Calibration("interval_error", np.full(len(self.truth), self.level), self.covered)


Judged = JudgedClasses | JudgedSentiment


class JudgedSplit(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A split of a data set as a model judged it.

    `items` (n) say what each row is, `pictures` uint8 (n, h, w) show it where there are any; `further` are the same rows
    judged in another way, whose figures carry its key as a suffix; `counts` are counts of rows.
    """

    judged: Judged
    items: Sequence[str]
    pictures: np.ndarray | None = None
    further: Mapping[str, Judged] = {}
    counts: Mapping[str, int] = {}


def figures_of(split: JudgedSplit, *, resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Figure]:
    """All figures of a split, each with its bootstrap interval; the same each time."""
    figures = {"rows": Figure(value=len(split.items))}
    for suffix, judged in {"": split.judged, **split.further}.items():
        measure, count = judged.measure(), len(judged.truth)
        intervals = bootstrap_intervals(measure, count, resamples=resamples, seed=seed)
        for name, value in measure(np.arange(count)).items():
            low, high = intervals[name]
            figures[f"{name}_{suffix}" if suffix else name] = Figure(value=value, low=low, high=high)
        name, confidence, right = judged.calibration()
        low, high = calibration_error_interval(confidence, right, resamples=resamples, seed=seed)
        error = expected_calibration_error(confidence, right)
        figures[f"{name}_{suffix}" if suffix else name] = Figure(value=error, low=low, high=high)
        if isinstance(judged, JudgedSentiment) and not suffix:
            figures["interval_level"] = Figure(value=judged.level)
    return figures | {name: Figure(value=count) for name, count in split.counts.items()}


def plain_figures(figures: Mapping[str, Figure]) -> dict[str, float]:
    """Figures by name, the ends of their intervals as NAME_low and NAME_high."""
    plain: dict[str, float] = {}
    for name, figure in figures.items():
        plain[name] = figure.value
        if figure.low is not None and figure.high is not None:
            plain |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return plain


def definition_of(name: str) -> str:
    """What a figure is, by its name with or without the suffix of what its rows were also judged by."""
    for suffix, what in SUFFIXES.items():
        plain = name.removesuffix(f"_{suffix}")
        if plain != name:
            return f"{DEFINITIONS[plain]}; {what}"
    return DEFINITIONS[name]
