"""Predictions as they come: a row for each final one; on a terminal, below them, what is provisional and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.text import Text

from deploy.cli.render import HEADINGS, clock, row
from deploy.cli.summary import Tally
from stream.prediction import Prediction
from stream.timeline.time import NS_PER_SECOND

REFRESHES_PER_SECOND = 8


class _Speed(ProgressColumn):
    """Media time a second of wall time, and what is left of it."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        line = f"{speed / NS_PER_SECOND:.1f} x real time"
        if task.total and task.time_remaining is not None:
            line += f", {clock(round(task.time_remaining) * NS_PER_SECOND)[:-2]} left"
        return Text(line, style="dim")


class PredictionView:
    """Shows predictions on `console`; use as a context manager.

    `live` is the console that holds the moving part, None for none. `position_ns` says how far the session has come, of
    `duration_ns` where that is known.
    """

    def __init__(
        self,
        console: Console,
        live: Console | None,
        *,
        position_ns: Callable[[], int] | None = None,
        duration_ns: int | None = None,
    ) -> None:
        self.tally = Tally()
        self._console = console
        self._position_ns = position_ns
        self._provisional: Text | None = None
        self._same_console = live is console
        self._headed = False
        self._live = None
        self._progress = Progress(
            TextColumn("{task.description}", style="dim"), BarColumn(bar_width=24), TaskProgressColumn(), _Speed()
        )
        self._task = self._progress.add_task("0:00.0", total=duration_ns)
        if live is not None:
            self._live = Live(
                console=live,
                get_renderable=self._moving_part,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> PredictionView:
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, prediction: Prediction) -> None:
        """Shows one prediction: a final one for good, a provisional one until the next."""
        self.tally.add(prediction)
        text = row(prediction, self._console.width if self._console.is_terminal else None)
        if prediction.result.status == "provisional":
            text.stylize("dim italic")
            self._provisional = text
            return
        self._provisional = None
        if not self._headed:
            self._headed = True
            self._console.print(Text(HEADINGS, style="dim"), soft_wrap=True)
        self._console.print(text, soft_wrap=True)

    def _moving_part(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._provisional is not None and self._same_console:
            parts.append(self._provisional)
        if self._position_ns is not None:
            position_ns = self._position_ns()
            self._progress.update(self._task, completed=position_ns, description=clock(position_ns))
            parts.append(self._progress.get_renderable())
        return Group(*parts)
