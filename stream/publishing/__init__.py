"""Publishing predictions over ZeroMQ, and subscribing to them. ZeroMQ is loaded with the first name that is taken."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.publishing.async_subscriber import AsyncSubscriber as AsyncSubscriber
    from stream.publishing.publisher import Publisher as Publisher
    from stream.publishing.subscriber import Subscriber as Subscriber
    from stream.publishing.wire import BEGINNING as BEGINNING
    from stream.publishing.wire import Gap as Gap
    from stream.publishing.wire import Position as Position

_MODULES = {
    "AsyncSubscriber": "async_subscriber",
    "BEGINNING": "wire",
    "Gap": "wire",
    "Position": "wire",
    "Publisher": "publisher",
    "Subscriber": "subscriber",
}
__all__ = ["BEGINNING", "AsyncSubscriber", "Gap", "Position", "Publisher", "Subscriber"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"stream.publishing.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
