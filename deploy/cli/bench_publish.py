"""`affectstream bench publish`: the publisher and its subscribers against bare pyzmq."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def publish(
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each run.")] = 5.0,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of own and bare run.")] = 3,
    failures: Annotated[bool, typer.Option(help="Also a stalled subscriber and a publisher that is killed.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Delivery, added latency and CPU against bare pyzmq: 1, 10 and 100 subscribers, with and without CURVE."""
    from deploy.bench import publish as measures
    from deploy.cli.render import print_figures

    figures: dict[str, Any] = {
        "plain": measures.measure(seconds, pairs, curve=False),
        "curve": measures.measure(seconds, pairs, curve=True),
    }
    if failures:
        figures |= {"stall": measures.measure_stall(), "restart": measures.measure_restart()}
    print_figures(figures, as_json=as_json)
