"""Publishing predictions over ZeroMQ, and subscribing to them. ZeroMQ is loaded with the first name that is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.publishing.publisher import Publisher as Publisher
    from stream.publishing.subscriber import Subscriber as Subscriber

__all__ = ["Publisher", "Subscriber"]


def __getattr__(name: str) -> Any:
    if name == "Publisher":
        from stream.publishing.publisher import Publisher

        return Publisher
    if name == "Subscriber":
        from stream.publishing.subscriber import Subscriber

        return Subscriber
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
