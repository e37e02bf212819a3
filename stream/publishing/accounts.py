"""What those who connect may have, counted by key. Pure."""

from __future__ import annotations

import msgspec


class PeerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a publisher gives away. A key has it over all its connections; without keys each connection is on its own."""

    connections: int = 1_024
    """Of all keys to both sockets, two a subscriber; each may hold a megabyte of what its reader has not taken."""
    connections_per_key: int = 32
    """Sixteen subscribers of one owner; a key that got about takes a thirty-second part of the places."""
    subscriptions: int = 256
    """Prefixes of one key, of up to 1 024 bytes; ZeroMQ keeps each byte in a node of a tree: ten megabytes at the most."""
    requests_per_s: float = 200.0
    """Replay requests of one key; a page takes some milliseconds at the most, most of them far less than one."""
    requests_at_once: float = 100.0
    """Requests of one key above that rate: all its subscribers ask at the same moment, when the publisher has come again."""


class Account:
    """What one key has of its limits at this moment."""

    __slots__ = ("_allowance", "_asked_s", "_limits", "connections", "subscriptions")

    def __init__(self, limits: PeerLimits) -> None:
        self.connections = 0
        self.subscriptions = 0
        self._limits = limits
        self._allowance = 0.0
        """Replay requests that it may still make at `_asked_s`."""
        self._asked_s = float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether it has more than it may."""
        limits = self._limits
        return self.connections > limits.connections_per_key or self.subscriptions > limits.subscriptions

    def may_ask(self, now_s: float) -> bool:
        """Whether it may make one more replay request now; that one is counted."""
        limits = self._limits
        self._allowance = min(limits.requests_at_once, self._allowance + (now_s - self._asked_s) * limits.requests_per_s)
        self._asked_s = now_s
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
