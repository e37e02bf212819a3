"""Sessions as a subscriber sees them: a heading, rows, a summary when one ends."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from deploy.cli.summary import figures_of, print_summary
from deploy.cli.terminal import print_notice, printable
from deploy.cli.view import PredictionView
from stream.prediction import Prediction
from stream.publishing.wire import Body, SessionEvent


class SessionsView:
    """Shows what is received on `console` (None: nothing but notices on `err`); use as a context manager."""

    def __init__(self, console: Console | None, err: Console, *, waiting: str) -> None:
        self._console = console
        self._err = err
        self._status = err.status(Text(waiting, style="dim")) if err.is_terminal else None
        self._views: dict[str, PredictionView] = {}
        self._shown: str | None = None

    def __enter__(self) -> SessionsView:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_waiting()
        self._hide()

    def show(self, body: Body) -> None:
        """Shows one prediction or event."""
        self._stop_waiting()
        if isinstance(body, Prediction):
            if self._console is not None:
                self._view(self._console, body.result.session).show(body)
        elif body.closes:
            self._close(body)

    def _view(self, console: Console, session: str) -> PredictionView:
        if session != self._shown:
            self._hide()
            console.print(Rule(Text(printable(session), style="bold"), align="left", style="dim"))
            if session not in self._views:
                self._views[session] = PredictionView(console, console if console.is_terminal else None)
            self._views[session].__enter__()
            self._shown = session
        return self._views[session]

    def _close(self, event: SessionEvent) -> None:
        view = self._views.pop(event.session, None)
        if view is not None and self._console is not None:
            if event.session == self._shown:
                view.__exit__(None, None, None)
                self._shown = None
            figures = None if event.summary is None else figures_of(event.summary)
            print_summary(self._console, view.tally, figures)
            if figures is not None and figures.cut is not None:
                print_notice(self._console, figures.cut)
        detail = f": {event.detail}" if event.detail else ""
        print_notice(self._console or self._err, f"session {event.session} {event.event}{detail}")

    def _hide(self) -> None:
        if self._shown is not None and self._shown in self._views:
            self._views[self._shown].__exit__(None, None, None)
        self._shown = None

    def _stop_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
