"""Sessions as a subscriber sees them: a heading, rows, a summary when one ends; on a terminal a table of all below."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deploy.cli.sessions_table import MOST_SESSIONS, Sessions, heard, missed, sessions_table
from deploy.cli.summary import figures_of, print_summary
from deploy.cli.terminal import print_notice, printable
from deploy.cli.view import PredictionView
from stream.prediction import Prediction
from stream.publishing.wire import Body, Gap, SessionEvent

REFRESHES_PER_SECOND = 4
"""Ages have tenths of a second, which nobody reads faster."""


class SessionsView:
    """Shows what is received on `console` (None: nothing but notices on `err`); use as a context manager.

    On a terminal a table of the sessions stays below the final predictions. `now_ns`: the clock of its ages, which count
    from when a message came here: the clocks of two hosts differ.
    """

    def __init__(
        self, console: Console | None, err: Console, *, waiting: str, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._console = console
        self._err = err
        self._status = err.status(Text(waiting, style="dim")) if err.is_terminal else None
        self._views: dict[str, PredictionView] = {}
        self._shown: str | None = None
        self._now_ns = now_ns
        self._sessions: Sessions = ()  # replaced whole: the thread that redraws reads it
        self._live: Live | None = None
        if console is not None and console.is_terminal:
            self._live = Live(
                console=console,
                get_renderable=self._table,
                refresh_per_second=REFRESHES_PER_SECOND,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> SessionsView:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_waiting()
        if self._live is not None:
            self._live.stop()

    def show(self, body: Body) -> None:
        """Shows one prediction or event."""
        self._update(heard(self._sessions, body, self._now_ns()))
        if self._live is not None and isinstance(body, Prediction) and body.result.status == "provisional":
            return  # the table has it; a heading for each would hide the final ones
        if isinstance(body, Prediction):
            if self._console is not None:
                self._view(self._console, body.result.session).show(body)
        elif body.closes:
            self._close(body)

    def lost(self, gap: Gap) -> None:
        """Tells what was missed: on `err`, or above the table where that is on the same screen."""
        self._update(missed(self._sessions, gap))
        self.notice(f"{gap.count or 'unknown'} messages lost: {gap.reason}")

    def notice(self, line: str) -> None:
        """One line for people, in the same place."""
        console = self._console if self._live is not None and self._err.is_terminal else None
        print_notice(console or self._err, line)

    def _update(self, sessions: Sessions) -> None:
        self._stop_waiting()
        self._sessions = sessions
        if self._live is not None:
            self._live.start()  # does nothing from the second time on

    def _table(self) -> Table:
        return sessions_table(self._sessions, self._now_ns())

    def _view(self, console: Console, session: str) -> PredictionView:
        if session != self._shown:
            console.print(Rule(Text(printable(session), style="bold"), align="left", style="dim"))
            if session not in self._views:
                self._views[session] = PredictionView(console, None)
                if len(self._views) > MOST_SESSIONS:  # one that never told its end
                    del self._views[next(iter(self._views))]
            self._shown = session
        return self._views[session]

    def _close(self, event: SessionEvent) -> None:
        view = self._views.pop(event.session, None)
        if view is not None and self._console is not None:
            if event.session == self._shown:
                self._shown = None
            figures = None if event.summary is None else figures_of(event.summary)
            print_summary(self._console, view.tally, figures)
            if figures is not None and figures.cut is not None:
                print_notice(self._console, figures.cut)
        detail = f": {event.detail}" if event.detail else ""
        print_notice(self._console or self._err, f"session {event.session} {event.event}{detail}")

    def _stop_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
