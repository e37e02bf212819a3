"""Two hosts on one machine: network namespaces joined by a line that delays, loses and can be cut.

Each has a TUN device; what one sends, a thread of the test hands to the other. The kernel's own netem would do the same,
where it is there at all; this needs root, `ip` and /dev/net/tun, and says what passes by.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Of the documentation's network: on no machine's way to anything."""
_TUN = "/dev/net/tun"
_SET_INTERFACE = 0x4004_54CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_TCP, _SYN = 6, 2
_LARGEST_PACKET = 65_536
_PATIENCE_S = 60.0


class Line:
    """What joins the hosts: every packet is `delay_s` late, a share of `loss` is lost (the same ones for the same order)."""

    def __init__(self, *, delay_s: float = 0.0, loss: float = 0.0) -> None:
        name = f"as{os.getpid()}"
        self.hosts = (f"{name}a", f"{name}b")
        self.lost = 0
        self._delay_s = delay_s
        self._loss = loss
        self._random = random.Random(7)
        self._cut = False
        self._tried = (threading.Event(), threading.Event())
        self._stopped = threading.Event()
        self._ends: list[int] = []
        self._thread = threading.Thread(target=self._carry, name="line", daemon=True)

    def __enter__(self) -> Line:
        for end, host in enumerate(self.hosts):
            _ip("netns", "add", host)
            device = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
            self._ends.append(device)
            fcntl.ioctl(device, _SET_INTERFACE, struct.pack("16sH22x", host.encode(), _IFF_TUN | _IFF_NO_PI))
            _ip("link", "set", host, "netns", host)
            _ip("-n", host, "addr", "add", f"{ADDRESSES[end]}/24", "dev", host)
            _ip("-n", host, "link", "set", host, "up")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for device in self._ends:
            os.close(device)
        for host in self.hosts:
            _ip("netns", "del", host, check=False)

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._cut = True

    def take_down(self, end: int) -> None:
        """One host's own device is down: it knows."""
        _ip("-n", self.hosts[end], "link", "set", self.hosts[end], "down")

    def mend(self) -> None:
        """All is as it was."""
        self._cut = False
        for host in self.hosts:
            _ip("-n", host, "link", "set", host, "up")

    def wait_for_new_connection(self, end: int) -> None:
        """Until a host has tried to connect, whether or not that gets through."""
        self._tried[end].clear()
        assert self._tried[end].wait(_PATIENCE_S)

    def _carry(self) -> None:
        numbers = count()
        under_way: list[tuple[float, int, int, bytes]] = []
        while not self._stopped.is_set():
            wait_s = 0.05 if not under_way else max(0.0, min(0.05, under_way[0][0] - time.monotonic()))
            for device in select.select(self._ends, [], [], wait_s)[0]:
                end = self._ends.index(device)
                with contextlib.suppress(OSError):  # the device has just gone down
                    packet = os.read(device, _LARGEST_PACKET)
                    self._look(end, packet)
                    if self._cut or self._random.random() < self._loss:
                        self.lost += 1
                        continue
                    heapq.heappush(under_way, (time.monotonic() + self._delay_s, next(numbers), 1 - end, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                *_, end, packet = heapq.heappop(under_way)
                with contextlib.suppress(OSError):
                    os.write(self._ends[end], packet)

    def _look(self, end: int, packet: bytes) -> None:
        if packet[0] >> 4 == 4 and packet[9] == _TCP and packet[(packet[0] & 15) * 4 + 13] & _SYN:
            self._tried[end].set()


@contextlib.contextmanager
def two_hosts(*, delay_s: float = 0.0, loss: float = 0.0) -> Iterator[Line]:
    """The line between them; skips where they can't be had, with the reason."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("no `ip` (iproute2)")
    if not os.access(_TUN, os.R_OK | os.W_OK):
        pytest.skip(f"no {_TUN}")
    with contextlib.ExitStack() as stack:
        line = Line(delay_s=delay_s, loss=loss)
        stack.push(line.__exit__)
        try:
            line.__enter__()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces: {getattr(error, 'stderr', None) or error}")
        yield line


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
