"""`affectstream replay`: a recording once more, through the same or another model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer


def replay(
    file: Annotated[Path, typer.Argument(help="What affectstream record, or --record, wrote.", metavar="FILE.mcap")],
    model: Annotated[Path | None, typer.Option(help="Another model: a table says what it changes.", metavar="DIR")] = None,
    output: Annotated[
        str | None, typer.Option(help="Write every revision as one JSON object a line; - for standard output.", metavar="FILE")
    ] = None,
    from_media: Annotated[
        bool, typer.Option("--from-media", help="Run the stream operators again too, on the recorded media.")
    ] = False,
    realtime: Annotated[bool, typer.Option("--realtime", help="At the pace of the recorded session.")] = False,
) -> None:
    """Predict from a recording, exactly as the session did: twice, the same bytes.

    What was recorded is compared. The exit code is 1 where the same model differs or the recording is cut, 2 at bad input.
    """
    from deploy.cli import terminal
    from deploy.cli.changes import Changes, print_changes
    from deploy.cli.lines import STDOUT, LineWriter
    from deploy.cli.summary import print_summary
    from deploy.cli.view import PredictionView
    from stream.errors import AffectstreamError, SourceCutError
    from stream.recording.reader import Recording

    out, err = terminal.stdout(), terminal.stderr()
    human = err if output == STDOUT else out
    recording = Recording(file)
    with ExitStack() as stack:
        with terminal.working(err, "Loading the model"):
            from deploy.inline import LoadedOperators
            from deploy.replay import Replay
            from deploy.rerun import recorded_transcriber, rerun_session

            operators = LoadedOperators(model, transcriber=recorded_transcriber(recording))
        stack.callback(operators.close)
        predictions = (
            stack.enter_context(rerun_session(recording, operators, realtime=realtime))
            if from_media
            else Replay(recording, operators, pace=_pace() if realtime else None)
        )
        lines = stack.enter_context(LineWriter(output, source=str(file))) if output is not None else None
        changes = Changes()
        with PredictionView(human, None) as view:
            for prediction in predictions:
                if lines is not None:
                    lines.write(prediction)
                changes.replayed(prediction)
                view.show(prediction)
        for prediction in recording.predictions():
            changes.recorded(prediction)
        print_summary(human, view.tally, None)
        on_own_time = from_media and recording.head.live
        if on_own_time:
            terminal.print_notice(
                human, "recorded live: the media run on their own time here, so that all spans differ a little"
            )
        same_model = operators.identity.digest == recording.head.model.digest
        complete = recording.end is not None and recording.end.complete
        differs = print_changes(human, changes, complete=complete, same_model=same_model)
    if recording.cut is not None:
        raise SourceCutError(recording.cut, fix="what came before was replayed")
    if differs and same_model and not on_own_time:
        raise AffectstreamError(
            f"the replay of {file}",
            found=f"{differs} revisions that differ",
            expected="those that were recorded",
            fix="another machine or version computes otherwise; the list above says where",
        )


def _pace() -> Callable[[int], bool]:
    import time

    begun_s = time.monotonic()

    def wait(arrival_ns: int) -> bool:
        time.sleep(max(0.0, begun_s + arrival_ns / 1e9 - time.monotonic()))
        return True

    return wait
