"""Predictions as rows for people, and figures as tables or JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.cli.terminal import printable
from stream.prediction import ModalityReport, Prediction, Result
from stream.timeline.time import NS_PER_SECOND

EMOTION_STYLES = {
    "neutral": "bright_black",
    "joy": "yellow",
    "sadness": "blue",
    "anger": "red",
    "surprise": "magenta",
    "fear": "cyan",
    "disgust": "green",
}
MODALITIES = ("text", "audio", "video")
BAR_CELLS = 3
"""On each side of zero, one for each unit of sentiment."""
_TIME, _EMOTION = 13, 13
HEADINGS = f"{'time':<{_TIME}} {'sentiment':<12} {'emotion':<{_EMOTION}} {'val':>4} {'aro':>4} TAV words"
ROW_WIDTH = len(HEADINGS) - len("words")
LEGEND = "val, aro: valence and arousal, -1 to 1; T A V: text, audio, video were there (… may come, × left out, · absent)"
_STATES = {"absent": "·", "pending": "…", "shed": "×", "stale": "~", "imputed": "~"}


def clock(ns: int) -> str:
    """Session time as m:ss.d, with hours from the first one on."""
    tenths = abs(ns) * 10 // NS_PER_SECOND
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if ns < 0 else ""
    seconds = f"{tenths // 10:02}.{tenths % 10}"
    return f"{sign}{hours}:{minutes:02}:{seconds}" if hours else f"{sign}{minutes}:{seconds}"


def sentiment_style(value: float) -> str:
    """Green above, red below, grey around zero: the limits of `polarity`."""
    return "green" if value > 0.5 else "red" if value < -0.5 else "bright_black"


def sentiment_bar(value: float) -> Text:
    """A bar from zero to the left or to the right, half a unit a step."""
    halves = min(2 * BAR_CELLS, round(abs(value) * 2))
    bar = "━" * (halves // 2)
    if value < 0:
        left, right = ("╺" * (halves % 2) + bar).rjust(BAR_CELLS), " " * BAR_CELLS
    else:
        left, right = " " * BAR_CELLS, (bar + "╸" * (halves % 2)).ljust(BAR_CELLS)
    style = sentiment_style(value)
    return Text.assemble((left, style), ("│", "dim"), (right, style))


def row(prediction: Prediction, width: int | None = None) -> Text:
    """One prediction; words that don't fit into `width` columns go on below, under the first of them."""
    result = prediction.result
    text = Text(f"{clock(result.start_ns)}–{clock(result.end_ns)}".ljust(_TIME), style="dim")
    text.append(" ")
    if result.sentiment is None:
        text.append(" " * BAR_CELLS + "│" + " " * (BAR_CELLS + 5), style="dim")
    else:
        text.append_text(sentiment_bar(result.sentiment.value))
        text.append(f" {result.sentiment.value:+z.1f}", style=sentiment_style(result.sentiment.value))
    text.append(" ")
    text.append_text(_top_emotion(result))
    for value in (result.valence, result.arousal):
        text.append(f" {'' if value is None else _signed(value):>4}")
    text.append(" ")
    for name in MODALITIES:
        text.append_text(_mark(name, result.modalities.get(name)))
    text.append(" ")
    return _with_words(text, _words(result), width)


def _top_emotion(result: Result) -> Text:
    if not result.emotions:
        return Text(" " * _EMOTION)
    name, share = max(result.emotions.items(), key=lambda item: item[1])
    name_width = _EMOTION - 5
    label = f"{printable(name)[:name_width]:<{name_width}} {share:>4.0%}"
    return Text(label, style=EMOTION_STYLES.get(name, ""))


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("0.", ".") if abs(value) < 0.995 else f"{value:+.1f}"


def _mark(name: str, report: ModalityReport | None) -> Text:
    if report is not None and report.state == "present":
        return Text(name[0].upper(), style="bold")
    return Text("·" if report is None else _STATES[report.state], style="dim")


def _words(result: Result) -> Text:
    text = result.modalities.get("text")
    if result.kind == "hole":
        return Text("(nothing is known of this stretch)", style="dim")
    if result.transcript is not None and result.transcript.text:
        return Text(printable(result.transcript.text))
    if result.lane != "speech":
        return Text(f"(listens: {printable(result.lane)})", style="dim")
    if text is not None and text.rejected:
        return Text("(words were not understood)", style="dim")
    if text is not None and text.state == "pending":
        return Text("(words may come)", style="dim")
    return Text("(silence)" if result.kind == "silence" else "", style="dim")


def _with_words(text: Text, words: Text, width: int | None) -> Text:
    start = text.cell_len
    if width is None or width - start < 12 or words.cell_len <= width - start:
        text.append_text(words)
        return text
    lines = words.wrap(Console(width=width), width - start)
    for number, line in enumerate(lines):
        line.rstrip()
        if number:
            text.append("\n" + " " * start)
        text.append_text(line)
    return text


def print_figures(figures: Any, *, as_json: bool) -> None:
    """Figures of a measurement (mappings and structs, nested): a table on a terminal, or one JSON object."""
    plain = msgspec.to_builtins(figures)
    if as_json:
        sys.stdout.write(msgspec.json.encode(plain).decode() + "\n")
        sys.stdout.flush()
        return
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in _flat(plain):
        table.add_row(name, value)
    Console(markup=False, highlight=False, emoji=False).print(table)


def _flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in figures.items():
        label = prefix + name.replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, prefix=f"{label}: ")
        elif value is not None:
            rows.append((label, _figure(value)))
    return rows


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " to ".join(map(_figure, value)) if len(value) == 2 else ", ".join(map(_figure, value))
    return printable(str(value))
