"""The command line: `affectstream COMMAND`. Each command imports what is heavy inside itself."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from typing import Annotated

import typer

from deploy.cli import bench, evaluate, keys, train
from deploy.cli.analyze import analyze
from deploy.cli.demo import demo
from deploy.cli.doctor import doctor
from deploy.cli.record import record
from deploy.cli.replay import replay
from deploy.cli.report import report
from deploy.cli.schema import schema
from deploy.cli.subscribe import subscribe
from deploy.cli.terminal import NobodyReadsError, print_error, printable, stderr
from stream.errors import AffectstreamError

PROGRAM = "affectstream"
INTERRUPTED = 130
PIPE_CLOSED = 141
"""What a program ends with that the system stops because nobody reads its output."""

app = typer.Typer(
    help="Real-time affect from video, audio and words that belong together in time.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(analyze)
app.command()(demo)
app.command()(record)
app.command()(replay)
app.command()(report)
app.command()(subscribe)
app.command()(doctor)
app.command()(schema)
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(bench.app, name="bench")
app.add_typer(keys.app, name="keys")


@app.callback(invoke_without_command=True)
def affectstream(
    context: typer.Context,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the stack trace of what fails (anywhere on the line).")] = False,
) -> None:
    """Real-time affect from video, audio and words that belong together in time."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code; every failure is one line on standard error."""
    debug, arguments = _take_debug(arguments)
    try:
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except AffectstreamError as error:
        _trace(debug)
        print_error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except NobodyReadsError:
        _silence_stdout()
        return PIPE_CLOSED
    except Exception as error:
        _trace(debug)
        return _usage_error(error) if hasattr(error, "format_message") else _unexpected(error, debug)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script."""
    code = run(sys.argv[1:])
    if code and any(thread.daemon for thread in threading.enumerate()):
        # An operator's thread may still be inside a library; tearing the interpreter down under it would abort the process.
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it was closed before the start
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [a for a in arguments[:end] if a != "--debug"]
    return len(kept) < end, kept + arguments[end:]


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


def _usage_error(error: Exception) -> int:
    """A wrong command line in one line (the exceptions' module depends on the version of typer)."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    message = error.format_message()  # type: ignore[attr-defined]
    if message.strip():  # else the help of a command that needs a subcommand has been printed
        stderr().print(f"{PROGRAM}: {message.rstrip('.')}; see {command} --help", soft_wrap=True)
    return 2


def _unexpected(error: Exception, debug: bool) -> int:
    hint = "" if debug else "; --debug shows where"
    stderr().print(f"{PROGRAM}: unexpected {type(error).__name__}: {printable(str(error))}{hint}", soft_wrap=True)
    return 1


def _silence_stdout() -> None:
    """Nobody reads any more: keeps the interpreter from complaining about it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
