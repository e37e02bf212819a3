"""Addresses: which may be bound, and which are taken. ZeroMQ itself takes over an ipc address that is in use."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import stat
from pathlib import Path

import zmq

from stream.errors import EndpointError

EXPECTED = "tcp://127.0.0.1:PORT or ipc://PATH"


def bindable(endpoint: str, *, beyond: bool = False) -> str:
    """The address to bind. Raises `EndpointError` where it is malformed or taken, or reaches beyond this machine and may not.

    `beyond`: whoever connects has to show a key, or nobody has to and that is wanted.
    """
    transport, separator, address = endpoint.partition("://")
    if not separator or transport not in ("tcp", "ipc") or not address:
        raise EndpointError("publishing address", found=repr(endpoint), expected=EXPECTED)
    if transport == "ipc":
        _check_free(endpoint, address)
        return endpoint
    host, separator, port = address.rpartition(":")
    if not separator or not (port == "*" or (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise EndpointError("publishing address", found=repr(endpoint), expected=EXPECTED)
    if host == "localhost":  # ZeroMQ binds numbers only
        return f"tcp://127.0.0.1:{port}"
    if not beyond and not _is_loopback(host):
        raise EndpointError(
            f"publishing address {endpoint}",
            found="an address that other machines can reach",
            expected=EXPECTED,
            fix="publishing beyond this machine needs keys (--key and --authorised; affectstream keys new makes them), or "
            "--insecure",
        )
    return endpoint


def bind(publisher: zmq.Socket[bytes], endpoint: str, *, beyond: bool = False) -> str:
    """Binds and returns the address with its port. Raises `EndpointError`."""
    address = bindable(endpoint, beyond=beyond)
    publisher.ipv6 = address.startswith("tcp://[")
    try:
        publisher.bind(address)
    except zmq.ZMQError as error:
        raise refused(endpoint, error) from error
    return publisher.getsockopt_string(zmq.LAST_ENDPOINT)


def bind_replay(replay: zmq.Socket[bytes], bound: str) -> tuple[str, int] | None:
    """Binds the ROUTER that belongs to a bound address: to the next port, or to any where that is taken.

    Returns both ports, the first as text; None for ipc, whose path gets `.replay` behind it. Raises `EndpointError`.
    """
    transport, _, address = bound.partition("://")
    if transport == "ipc":
        bind(replay, replay_endpoint(bound, 0))
        return None
    host, _, port = address.rpartition(":")
    replay.ipv6 = host.startswith("[")
    for candidate in (str(int(port) + 1) if int(port) < 65_535 else "*", "*"):
        with contextlib.suppress(zmq.ZMQError):
            replay.bind(f"tcp://{host}:{candidate}")
            return port, int(replay.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
    raise EndpointError(f"address tcp://{host}:*", found="no free port", expected="one for replay requests")


def replay_endpoint(endpoint: str, port: int) -> str:
    """Where the ROUTER of the publisher at `endpoint` is, given the port that its heartbeats state for that address."""
    if endpoint.startswith("ipc://"):
        return f"{endpoint}.replay"
    return f"{endpoint.rpartition(':')[0]}:{port}"


def refused(endpoint: str, error: zmq.ZMQError) -> EndpointError:
    """What ZeroMQ says about an address that it can't bind or connect to, as one line."""
    if error.errno == errno.EADDRINUSE:
        return _taken(endpoint)
    return EndpointError(f"address {endpoint}", found=error.strerror or str(error), expected=EXPECTED)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_free(endpoint: str, address: str) -> None:
    if address.startswith(("@", "*")):
        return
    path = Path(address)
    if not path.parent.is_dir():
        raise EndpointError(f"publishing address {endpoint}", found="no such folder", expected=f"{path.parent} to exist")
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):  # ZeroMQ would delete the file
        raise EndpointError(
            f"publishing address {endpoint}", found="a file of another kind", expected="a free path or a socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return  # left behind by a program that is gone
    raise _taken(endpoint)


def _taken(endpoint: str) -> EndpointError:
    return EndpointError(f"address {endpoint}", found="in use", fix="choose another one, or end the program that holds it")
