"""`affectstream subscribe`: predictions as another program publishes them."""

from __future__ import annotations

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
    from deploy.cli.forwarding import Condition, Lsl, Osc, Outlet, Outlets, Webhook
    from deploy.cli.keys import subscriber_keys
    from deploy.cli.lines import STDOUT, LineWriter
    from stream.errors import InputError
    from stream.prediction import Prediction
    from stream.publishing.subscriber import Subscriber
    from stream.publishing.wire import Gap, SessionEvent

    out, err = terminal.stdout(), terminal.stderr()
    if (webhook is None) != (when is None):
        raise InputError("webhook", found="one of two", expected="--webhook URL and --when CONDITION")
    outlets: list[Outlet] = []
    if webhook is not None and when is not None:
        outlets.append(Webhook(webhook, Condition(when)))
    if osc is not None:
        outlets.append(Osc(osc))
    if lsl:
        outlets.append(Lsl())
    own, publishers = subscriber_keys(key, publisher_key)
    failed = False
    with (
        Subscriber(
            endpoint, session, until_ended=until_ended, redacted=redacted, key=own, publisher_key=publishers
        ) as subscriber,
        SessionsView(None if as_json else out, err, waiting=f"Waiting for predictions on {endpoint}") as view,
        Outlets(outlets, view.notice) as handed_on,
        LineWriter(STDOUT) as lines,
    ):
        for message in subscriber.messages():
            if isinstance(message, Gap):
                view.lost(message)
                continue
            if as_json and isinstance(message.body, Prediction):
                lines.write(message.body)
            if isinstance(message.body, Prediction):
                handed_on.send(message.body)
            elif message.body.closes:
                handed_on.forget(message.body.session)
            view.show(message.body)
            failed = failed or (isinstance(message.body, SessionEvent) and message.body.event == "failed")
    if failed:
        raise typer.Exit(1)
