"""What may be under way in a session at once: one budget for its readers, and bounded channels that close."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Budget:
    """Bytes and span of session time between the reader and the door; the reader waits, whatever the track.

    A container's tracks lie seconds apart, so that a bound per track deadlocks: the reader would wait for room on one
    track while the door waits for the other. One read is always let through when nothing is under way.
    """

    def __init__(self, max_bytes: int, max_span_ns: int) -> None:
        self._max_bytes = max_bytes
        self._max_span_ns = max_span_ns
        self._changed = threading.Condition()
        self._under_way: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._open = True

    def acquire(self, size: int, arrival_ns: int) -> bool:
        """Waits until `size` bytes read at `arrival_ns` fit; False when the session closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._fits(size, arrival_ns))
            if self._open:
                self._under_way.append((size, arrival_ns))
                self._bytes += size
            return self._open

    def release(self) -> None:
        """The oldest read has passed the door."""
        with self._changed:
            self._bytes -= self._under_way.popleft()[0]
            self._changed.notify()

    def close(self) -> None:
        """Lets a waiting reader go."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _fits(self, size: int, arrival_ns: int) -> bool:
        if not self._under_way:
            return True
        return self._bytes + size <= self._max_bytes and arrival_ns - self._under_way[0][1] <= self._max_span_ns


class Channel(Generic[Entry]):
    """A bounded queue that closes: writers wait for room, the reader iterates until it is closed and empty.

    Closed with an error, it raises that error to the reader once what came before has been read.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._entries: deque[Entry] = deque()
        self._open = True
        self._error: BaseException | None = None

    def put(self, entry: Entry) -> bool:
        """Adds an entry once there is room; False when the channel closed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open or len(self._entries) < self._capacity)
            if self._open:
                self._entries.append(entry)
                self._changed.notify_all()
            return self._open

    def close(self, error: BaseException | None = None, *, discard: bool = False) -> None:
        """Takes nothing more; the first error given stands. `discard` also forgets what nobody has read."""
        with self._changed:
            self._open = False
            self._error = self._error or error
            if discard:
                self._entries.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Entry]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._open or bool(self._entries))
                if not self._entries:
                    if self._error is not None:
                        raise self._error
                    return
                entry = self._entries.popleft()
                self._changed.notify_all()
            yield entry
