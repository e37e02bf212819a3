"""The report of an evaluation: one self-contained page, without scripts and without a network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from html import escape

import cv2
import msgspec
import numpy as np

from operators.evaluation.bootstrap import LEVEL, RESAMPLES
from operators.evaluation.judgement import Figure, Judged, JudgedClasses, JudgedSentiment, JudgedSplit, definition_of
from operators.evaluation.metrics import reliability_bins
from operators.evaluation.plots import confusion_plot, error_plot, reliability_plot, sentiment_reliability_plot

WORST = 12
"""Examples shown of each split."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5b6676; --page: #fff; --line: #d7dde5; --mark: #2563a8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ef; --quiet: #98a4b5; --page: #14181e; --line: #343c48; --mark: #6aa9ec }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto; max-width: 70rem;
  padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.quiet, figcaption { color: var(--quiet); font-size: .9em }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start }
figure { margin: 0; max-width: 100%; overflow-x: auto }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); dominant-baseline: central }
svg text.on { fill: var(--page) }
.cell, .dot, .bar { fill: var(--mark) } .cell { stroke: var(--line) } .dot { fill-opacity: .75 }
.frame { fill: none; stroke: var(--line) } .ideal { stroke: var(--quiet); stroke-dasharray: 4 4 }
img { image-rendering: pixelated; width: 72px; height: 72px; display: block }
"""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged, and on what."""

    model: str
    digest: str
    licence: str
    data: str
    command: str


def report_page(subject: Subject, splits: Mapping[str, JudgedSplit], figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """The page as HTML: for each split its figures, plots and the examples that were judged worst."""
    title = f"{subject.model} on {subject.data}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Model digest <code>{escape(subject.digest[:16])}</code>, permitted use: {escape(subject.licence)}. "
        f"Made by <code>{escape(subject.command)}</code>.</p>",
        f'<p class="quiet">Intervals are {LEVEL:.0%} bootstrap intervals over {RESAMPLES} resamples of the rows, '
        "seeded: percentiles, but for calibration errors, which resampling raises; theirs are wide enough to hold the true "
        "one. Rows count as independent; on new speakers or videos figures vary more. Rows that the model was trained or "
        "calibrated on flatter it: its card names them.</p>",
    ]
    for name, split in splits.items():
        parts.append(f"<h2>{escape(name)}</h2>")
        parts.append(_figure_table(figures[name]))
        parts.append(f'<div class="plots">{"".join(_plots(split.judged))}</div>')
        parts.append(_worst_table(split))
    head = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
    )
    return f"{head}<body>{''.join(parts)}</body></html>\n"


def _figure_table(figures: Mapping[str, Figure]) -> str:
    rows = []
    for name, figure in figures.items():
        interval = "" if figure.low is None or figure.high is None else f"{_number(figure.low)} to {_number(figure.high)}"
        rows.append(
            f'<tr><td><code>{escape(name)}</code></td><td class="number">{_number(figure.value)}</td>'
            f'<td class="number">{interval}</td><td class="quiet">{escape(definition_of(name))}</td></tr>'
        )
    return f"<table><tr><th>figure<th>value<th>{LEVEL:.0%} interval<th>what it is</tr>{''.join(rows)}</table>"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "not defined"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _plots(judged: Judged) -> list[str]:
    confusion = judged.confusion
    plots = [confusion_plot(confusion, judged.labels)]
    if isinstance(judged, JudgedClasses):
        plots.append(reliability_plot(reliability_bins(judged.probabilities.max(1), judged.right)))
        counts = confusion.sum(1)
        errors = 1 - np.diagonal(confusion) / np.maximum(counts, 1)
        plots.append(error_plot(errors.tolist(), counts.tolist(), judged.labels, "Error by label: share that was not found"))
        return plots
    plots.append(sentiment_reliability_plot(judged.truth, judged.predicted))
    rounded = np.round(np.clip(judged.truth, -3, 3)).astype(np.int64) + 3
    counts = np.bincount(rounded, minlength=7)
    sums = np.bincount(rounded, weights=np.abs(judged.truth - judged.predicted), minlength=7)
    errors = sums / np.maximum(counts, 1)
    what = "Error by label: mean absolute error over the rounded truth"
    return [*plots, error_plot(errors.tolist(), counts.tolist(), judged.labels, what)]


def _worst_table(split: JudgedSplit) -> str:
    judged = split.judged
    if isinstance(judged, JudgedSentiment):
        order = np.argsort(-np.abs(judged.truth - judged.predicted), kind="stable")[:WORST]
        said = [(f"{judged.truth[k]:+.1f}", f"{judged.predicted[k]:+.2f}") for k in order]
        heading = "largest errors"
    else:
        order = np.argsort(judged.probabilities[np.arange(len(judged.truth)), judged.truth], kind="stable")[:WORST]
        said = [
            (
                f"{judged.labels[judged.truth[k]]} ({judged.probabilities[k, judged.truth[k]]:.1%})",
                f"{judged.labels[judged.predicted[k]]} ({judged.probabilities[k].max():.1%})",
            )
            for k in order
        ]
        heading = "least probable truths"
    rows = [
        f"<tr><td>{_picture(split, int(k))}{escape(split.items[k])}</td>"
        f"<td>{escape(truth)}</td><td>{escape(predicted)}</td></tr>"
        for k, (truth, predicted) in zip(order, said, strict=True)
    ]
    return f"<h3>Worst examples: {heading}</h3><table><tr><th>row<th>truth<th>said</tr>{''.join(rows)}</table>"


def _picture(split: JudgedSplit, row: int) -> str:
    if split.pictures is None:
        return ""
    _, png = cv2.imencode(".png", split.pictures[row])
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png.tobytes()).decode()}">'
