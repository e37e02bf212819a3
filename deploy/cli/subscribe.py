"""`affectstream subscribe`: predictions as another program publishes them."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from stream.publishing.wire import DEFAULT_ENDPOINT


def subscribe(
    endpoint: Annotated[str, typer.Argument(help="Where the publisher is.")] = DEFAULT_ENDPOINT,
    session: Annotated[str | None, typer.Option(help="Only this session.", metavar="ID")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every revision as one JSON object a line.")] = False,
    until_ended: Annotated[
        bool, typer.Option("--until-ended", help="Stop when the session (without --session: every session seen) has ended.")
    ] = False,
    osc: Annotated[str | None, typer.Option(help="Send the numbers as OSC datagrams.", metavar="HOST:PORT")] = None,
    webhook: Annotated[
        str | None, typer.Option(help="POST the predictions with which --when comes true.", metavar="URL")
    ] = None,
    when: Annotated[str | None, typer.Option(help="Such as 'arousal > 0.7 for 3s'.", metavar="CONDITION")] = None,
    lsl: Annotated[bool, typer.Option("--lsl", help="Open a Lab Streaming Layer outlet for each session (an extra).")] = False,
    redacted: Annotated[bool, typer.Option("--redacted", help="Predictions without words.")] = False,
    key: Annotated[Path | None, typer.Option(help="This subscriber's secret key.", metavar="FILE")] = None,
    publisher_key: Annotated[Path | None, typer.Option(help="The publisher's public key.", metavar="FILE")] = None,
) -> None:
    """Follow the predictions of a running publisher, until Ctrl-C."""
    from deploy.cli import terminal
    from deploy.cli.following import SessionsView
    from deploy.cli.forwarding import Condition, Lsl, Osc, Webhook
    from deploy.cli.keys import subscriber_keys
    from deploy.cli.lines import STDOUT, LineWriter
    from stream.errors import InputError
    from stream.prediction import Prediction
    from stream.publishing.subscriber import Subscriber
    from stream.publishing.wire import Gap, SessionEvent

    out, err = terminal.stdout(), terminal.stderr()
    if (webhook is None) != (when is None):
        raise InputError("webhook", found="one of two", expected="--webhook URL and --when CONDITION")
    condition = None if when is None else Condition(when)
    own, publishers = subscriber_keys(key, publisher_key)
    failed = False
    with (
        ExitStack() as stack,
        Subscriber(
            endpoint, session, until_ended=until_ended, redacted=redacted, key=own, publisher_key=publishers
        ) as subscriber,
        SessionsView(None if as_json else out, err, waiting=f"Waiting for predictions on {endpoint}") as view,
        LineWriter(STDOUT) as lines,
    ):
        alerts = None if webhook is None else stack.enter_context(closing(Webhook(webhook)))
        outlets: list[Osc | Lsl] = []
        if osc is not None:
            outlets.append(stack.enter_context(closing(Osc(osc))))
        if lsl:
            outlets.append(stack.enter_context(closing(Lsl())))
        for message in subscriber.messages():
            if isinstance(message, Gap):
                view.lost(message)
                continue
            if as_json and isinstance(message.body, Prediction):
                lines.write(message.body)
            if isinstance(message.body, Prediction):
                for outlet in outlets:
                    outlet.send(message.body)
                if alerts is not None and condition is not None and condition.holds(message.body):
                    alerts.send(message.body)
            elif message.body.closes and condition is not None:
                condition.forget(message.body.session)
            view.show(message.body)
            failed = failed or (isinstance(message.body, SessionEvent) and message.body.event == "failed")
    if alerts is not None and alerts.failed:
        terminal.print_notice(err, f"{alerts.failed} alerts were taken by no server")
    if failed:
        raise typer.Exit(1)
