"""Plots of an evaluation as SVG text; colours are the page's (report.py)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from operators.evaluation.metrics import ReliabilityBins

CELL = 46
"""Side of a confusion matrix's cell, in pixels: four digits fit."""
SIDE = 280
"""Of a square plot."""
BAR = 22
MARGIN = 84
"""For the names of classes."""
RIGHT = 20
"""For half of the last tick and of a dot."""
BELOW = 60
"""For ticks and the name of the axis, under what is 10 from the top."""


def confusion_plot(confusion: np.ndarray, labels: Sequence[str]) -> str:
    """Counts int64 (k, k), a row for each true class, shaded by their share of the row."""
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    parts = []
    for row, label in enumerate(labels):
        middle = MARGIN + (row + 0.5) * CELL
        parts.append(_text(MARGIN - 6, middle, label, "end"))
        parts.append(_text(middle, MARGIN - 8, label, "start", turned=True))
        for column in range(len(labels)):
            x, y, share = MARGIN + column * CELL, MARGIN + row * CELL, shares[row, column]
            said = f"{label} taken for {labels[column]}: {confusion[row, column]}, {share:.0%}"
            parts.append(
                f'<rect class="cell" x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill-opacity="{share:.3f}">'
                f"<title>{escape(said)}</title></rect>"
            )
            strong = ' class="on"' if share > 0.6 else ""
            parts.append(_text(x + CELL / 2, y + CELL / 2, str(confusion[row, column]), "middle", extra=strong))
    side = MARGIN + len(labels) * CELL
    return _svg(side, side, "Confusion matrix: a row for each true class", parts)


def reliability_plot(bins: ReliabilityBins) -> str:
    """How often what was said with a confidence was right; the area of a dot is the share of the rows."""
    parts = [_axes("probability of the most probable class", "share that was right", 0.0, 1.0)]
    largest = max(float(bins.counts.max()), 1.0)
    for count, confidence, right in zip(bins.counts, bins.confidence, bins.right, strict=True):
        if count:
            x, y, radius = _across(confidence, 0, 1), _up(right, 0, 1), 2 + 8 * (count / largest) ** 0.5
            said = f"{count:.0f} rows: said {confidence:.2f}, right {right:.2f}"
            parts.append(_dot(x, y, radius, said))
    return _svg(MARGIN + SIDE + RIGHT, SIDE + BELOW, "Reliability: on the line what is said is true", parts)


def sentiment_reliability_plot(truth: np.ndarray, predicted: np.ndarray, bins: int = 10) -> str:
    """The mean truth over the mean prediction, both (n,), of tenths of the rows in order of prediction."""
    parts = [_axes("predicted sentiment", "mean true sentiment", -3.0, 3.0)]
    for rows in np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted))):
        x, y = float(predicted[rows].mean()), float(truth[rows].mean())
        parts.append(_dot(_across(x, -3, 3), _up(y, -3, 3), 5, f"{len(rows)} rows: said {x:+.2f}, true {y:+.2f}"))
    return _svg(MARGIN + SIDE + RIGHT, SIDE + BELOW, "Reliability: on the line what is said is true", parts)


def error_plot(errors: Sequence[float], counts: Sequence[int], labels: Sequence[str], what: str) -> str:
    """A bar for each label that has rows: its error, and how many rows it has."""
    shown = [(label, error, count) for label, error, count in zip(labels, errors, counts, strict=True) if count]
    longest = max((error for _, error, _ in shown), default=0.0) or 1.0
    parts = []
    for k, (label, error, count) in enumerate(shown):
        y = 8 + k * BAR
        width = SIDE * error / longest
        parts.append(_text(MARGIN - 6, y + BAR / 2 - 2, label, "end"))
        parts.append(f'<rect class="bar" x="{MARGIN}" y="{y}" width="{width:.1f}" height="{BAR - 6}"/>')
        parts.append(_text(MARGIN + width + 6, y + BAR / 2 - 2, f"{error:.2f} of {count}", "start"))
    return _svg(MARGIN + SIDE + 110, 16 + BAR * len(shown), what, parts)


def _axes(across: str, up: str, low: float, high: float) -> str:
    ticks = [low, (low + high) / 2, high]
    parts = [f'<line class="ideal" x1="{MARGIN}" y1="{SIDE + 10}" x2="{MARGIN + SIDE}" y2="10"/>']
    parts.append(f'<rect class="frame" x="{MARGIN}" y="10" width="{SIDE}" height="{SIDE}"/>')
    parts += [_text(_across(t, low, high), SIDE + 24, f"{t:g}", "middle") for t in ticks]
    parts += [_text(MARGIN - 8, _up(t, low, high), f"{t:g}", "end") for t in ticks]
    parts.append(_text(MARGIN + SIDE / 2, SIDE + 46, across, "middle"))
    parts.append(_text(26, 10 + SIDE / 2, up, "middle", turned=True))
    return "".join(parts)


def _across(value: float, low: float, high: float) -> float:
    return MARGIN + SIDE * (value - low) / (high - low)


def _up(value: float, low: float, high: float) -> float:
    return 10 + SIDE * (1 - (value - low) / (high - low))


def _dot(x: float, y: float, radius: float, said: str) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(said)}</title></circle>'


def _text(x: float, y: float, text: str, anchor: str, *, turned: bool = False, extra: str = "") -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}{extra}>{escape(text)}</text>'


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    label = escape(title, quote=True)
    return (
        f'<figure><svg role="img" aria-label="{label}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}">{"".join(parts)}</svg><figcaption>{escape(title)}</figcaption></figure>'
    )
