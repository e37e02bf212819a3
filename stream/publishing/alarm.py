"""What wakes a thread that reads sockets: while it polls them or, much cheaper, while it waits for nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


class Alarm:
    """Set by the one thread that will wait, rung by others; both hold `lock`, which guards what they wait for."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._bell = threading.Lock()
        self._bell.acquire()
        self._waker, self.readable = socket.socketpair()
        """What to poll for, where the alarm is set for a poll."""
        self._waker.setblocking(False)
        self.readable.setblocking(False)
        self._ring: Callable[[], object] | None = None

    def set(self, *, polling: bool) -> None:
        """From now on `ring` wakes: a poll of `readable`, or `wait`."""
        self._ring = self._ring_polled if polling else self._bell.release

    def ring(self) -> None:
        """Wakes whoever has set the alarm; it is off then."""
        if self._ring is not None:
            ring, self._ring = self._ring, None
            ring()

    def wait(self, timeout_s: float) -> None:
        """Waits until it rings, at most so long; it is off then."""
        if not self._bell.acquire(timeout=max(0.0, timeout_s)):
            with self._lock:
                if self._ring is None:
                    self._bell.acquire()  # it rang in the meantime
                self._ring = None

    def silence(self) -> None:
        """After a poll in which it rang."""
        self.readable.recv(4_096)

    def close(self) -> None:
        """Once nobody waits any more."""
        self._waker.close()
        self.readable.close()

    def _ring_polled(self) -> None:
        self._waker.send(b"\0")
