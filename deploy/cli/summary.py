"""What a session came to, drawn: sentiment over time, emotion shares, what became of every packet, speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deploy.cli.render import EMOTION_STYLES, LEGEND, clock, sentiment_style
from deploy.cli.terminal import print_notice, printable
from stream.prediction import Prediction
from stream.timeline.time import NS_PER_SECOND

CHART_ROWS = 2
"""Above and below zero each; a row has eight steps of an eighth of 3 / CHART_ROWS."""
LARGEST_SENTIMENT = 3.0
EMOTION_CELLS = 24
_RISING = " ▁▂▃▄▅▆▇█"
_HANGING = " ▔▔▀▀▀▀██"
"""What hangs from above, in the few blocks that every font has; a terminal gets reversed rising ones instead."""
_MARGIN = 3


class SessionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a session's summary that is shown; as it is published in its last event."""

    dispositions: dict[str, dict[str, Any]] = {}
    media_ns: int
    wall_s: float
    cpu_s: float
    cut: str | None = None
    notices: tuple[str, ...] = ()


def figures_of(summary: object) -> SessionFigures | None:
    """The figures in a session's summary, also one that came over the wire; None where it holds no such thing."""
    try:
        return msgspec.convert(msgspec.to_builtins(summary), SessionFigures)
    except msgspec.ValidationError:
        return None


class Tally:
    """The newest final state of each segment."""

    def __init__(self) -> None:
        self._finals: dict[tuple[int, str, int], Prediction] = {}

    def add(self, prediction: Prediction) -> None:
        """Counts a final or amended prediction of the speech lane; what listeners show is not summed up with it."""
        result = prediction.result
        if result.lane == "speech" and result.status in ("final", "amended"):
            self._finals[result.source_epoch, result.lane, result.start_ns] = prediction

    @property
    def finals(self) -> list[Prediction]:
        """In order of start."""
        return sorted(self._finals.values(), key=lambda p: p.result.start_ns)


def print_summary(console: Console, tally: Tally, figures: SessionFigures | None) -> None:
    """The summary of one session."""
    console.print()
    if any(p.result.sentiment for p in tally.finals):
        console.print(sentiment_chart(tally.finals, console.width, reverse=console.is_terminal))
        console.print()
    shares = emotion_shares(tally.finals)
    if shares:
        console.print(_emotion_table(shares))
        console.print()
    if figures is not None:
        if figures.dispositions:
            console.print(Padding(_disposition_table(figures.dispositions), (0, 0, 1, 0)))
        console.print(speed_line(figures), soft_wrap=True)
        for line in figures.notices:
            print_notice(console, line)
    if tally.finals:
        print_notice(console, LEGEND)


def sentiment_over_time(predictions: Iterable[Prediction], columns: int) -> list[float | None]:
    """Mean sentiment in each of `columns` equal stretches, weighted by overlap; None where nothing was predicted."""
    spans = [(p.result.start_ns, p.result.end_ns, p.result.sentiment.value) for p in predictions if p.result.sentiment]
    end_ns = max(end for _, end, _ in spans)
    begin_ns = min(0, *(start for start, _, _ in spans))
    totals, weights = [0.0] * columns, [0.0] * columns
    per_column = max(1.0, (end_ns - begin_ns) / columns)
    for start, end, value in spans:
        first, last = (start - begin_ns) / per_column, (end - begin_ns) / per_column
        for column in range(int(first), min(columns, int(last) + 1)):
            overlap = min(last, column + 1) - max(first, column)
            if overlap > 0:
                totals[column] += overlap * value
                weights[column] += overlap
    return [total / weight if weight > 0 else None for total, weight in zip(totals, weights, strict=True)]


def sentiment_chart(predictions: list[Prediction], width: int, *, reverse: bool) -> Text:
    """Sentiment over time as blocks above and below a line at zero; `reverse` draws falling ones by reversed colours."""
    columns = max(8, min(width, 160) - _MARGIN - 1)
    values = sentiment_over_time(predictions, columns)
    steps = [0 if v is None else round(v / LARGEST_SENTIMENT * 8 * CHART_ROWS) for v in values]
    chart = Text()
    for level in reversed(range(CHART_ROWS)):
        chart.append("+3 " if level == CHART_ROWS - 1 else " " * _MARGIN, style="dim")
        for value, step in zip(values, steps, strict=True):
            chart.append(_RISING[_filled(step, level)], style=_style(value))
        chart.append("\n")
    chart.append(" 0 ", style="dim")
    for value in values:
        chart.append("─" if value is not None else "·", style="dim")
    chart.append("\n")
    for level in range(CHART_ROWS):
        chart.append("-3 " if level == CHART_ROWS - 1 else " " * _MARGIN, style="dim")
        for value, step in zip(values, steps, strict=True):
            filled = _filled(-step, level)
            if reverse and 0 < filled < 8:
                chart.append(_RISING[8 - filled], style=f"{_style(value)} reverse")
            else:
                chart.append(_HANGING[filled], style=_style(value))
        chart.append("\n")
    end = clock(max(p.result.end_ns for p in predictions))
    chart.append(" " * _MARGIN + "0:00.0" + end.rjust(columns - 6), style="dim")
    return chart


def _filled(step: int, level: int) -> int:
    return min(8, max(0, step - 8 * level))


def _style(value: float | None) -> str:
    return "" if value is None else sentiment_style(value)


def emotion_shares(predictions: Iterable[Prediction]) -> dict[str, float]:
    """Mean probability of each emotion over the time that has any, largest first."""
    totals: dict[str, float] = {}
    for prediction in predictions:
        result = prediction.result
        for name, share in (result.emotions or {}).items():
            totals[name] = totals.get(name, 0.0) + share * (result.end_ns - result.start_ns)
    whole = sum(totals.values())
    return {name: total / whole for name, total in sorted(totals.items(), key=lambda item: -item[1])} if whole else {}


def _emotion_table(shares: Mapping[str, float]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=12)
    table.add_column(justify="right", width=4)
    for name, share in shares.items():
        style = EMOTION_STYLES.get(name, "")
        eighths = round(share * EMOTION_CELLS * 8)
        bar = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        table.add_row(Text(printable(name), style=style), f"{share:.0%}", Text(bar, style=style))
    return table


def _disposition_table(dispositions: Mapping[str, Mapping[str, Any]]) -> Table:
    """What became of every packet, by stream; the reasons of the dropped ones in brackets."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("stream")
    names = list(dict.fromkeys(name for counts in dispositions.values() for name in counts))
    for name in names:
        table.add_column(name, justify="right")
    for stream, counts in dispositions.items():
        table.add_row(printable(stream), *(_count(counts.get(name, 0)) for name in names))
    return table


def _count(value: Any) -> Text:
    if isinstance(value, Mapping):
        total = sum(value.values())
        reasons = ", ".join(f"{printable(str(name))} {count}" for name, count in value.items() if count)
        return Text(f"{total} ({reasons})" if reasons else str(total), style="" if total else "dim")
    return Text(printable(str(value)), style="" if value else "dim")


def speed_line(figures: SessionFigures) -> Text:
    """How fast it went, and at what cost."""
    media_s = figures.media_ns / NS_PER_SECOND
    line = f"{media_s:.1f} s of media in {figures.wall_s:.1f} s"
    if media_s > 0 and figures.wall_s > 0:
        line += f": {media_s / figures.wall_s:.1f} x real time, {figures.cpu_s / media_s:.2f} CPU-seconds a second of media"
    return Text(line)
