"""Predictions handed on by `affectstream subscribe`: OSC datagrams, a webhook under a condition, Lab Streaming Layer.

An outlet that fails is told of, once, and holds nothing else up: neither the other outlets nor what is shown.
"""

from __future__ import annotations

import http.client
import math
import queue
import re
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from stream.errors import InputError, MissingExtraError
from stream.prediction import Prediction
from stream.timeline.time import NS_PER_SECOND

CHANNELS = ("sentiment", "valence", "arousal")
EMOTIONS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
WEBHOOK_QUEUED = 64
"""Alerts that wait for a slow server; more are let go, and counted."""
WEBHOOK_TIMEOUT_S = 5.0
LSL_ENDED = 16
"""Outlets of sessions that have ended, a few threads each; a recorder that reads late has that many sessions' time."""
_WHEN = re.compile(r"\s*([a-z]+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)(?:\s+for\s+(\d+(?:\.\d+)?)\s*s)?\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


def channel(prediction: Prediction, name: str) -> float | None:
    """A number of a prediction: sentiment, valence, arousal or the probability of an emotion; None where it is absent."""
    result = prediction.result
    if name == "sentiment":
        return None if result.sentiment is None else result.sentiment.value
    if name in CHANNELS:
        value: float | None = getattr(result, name)
        return value
    return None if result.emotions is None else result.emotions.get(name)


class Condition:
    """`CHANNEL > NUMBER for SECONDSs`, looked at in the final predictions of each session, in session time.

    True once when it comes to hold, and again only after it has not held. Raises `InputError` for what is no condition.
    """

    def __init__(self, text: str) -> None:
        match = _WHEN.fullmatch(text)
        if match is None or match[1] not in CHANNELS + EMOTIONS:
            names = ", ".join(CHANNELS + EMOTIONS)
            raise InputError("condition", found=repr(text), expected=f"such as 'arousal > 0.7 for 3s', with one of {names}")
        self._name, self._compare, self._limit = match[1], _COMPARE[match[2]], float(match[3])
        self._for_ns = round(float(match[4] or 0) * NS_PER_SECOND)
        self._since: dict[str, int] = {}
        self._fired: set[str] = set()

    def holds(self, prediction: Prediction) -> bool:
        """Whether it has come to hold with this prediction."""
        result = prediction.result
        if result.status != "final":
            return False
        value = channel(prediction, self._name)
        if value is None or not self._compare(value, self._limit):
            self._since.pop(result.session, None)
            self._fired.discard(result.session)
            return False
        since = self._since.setdefault(result.session, result.start_ns)
        if result.session in self._fired or result.end_ns - since < self._for_ns:
            return False
        self._fired.add(result.session)
        return True

    def forget(self, session: str) -> None:
        """The session has ended."""
        self._since.pop(session, None)
        self._fired.discard(session)


class Outlet(Protocol):
    """Where predictions are handed on to. Its methods raise nothing."""

    @property
    def failures(self) -> Failures:
        """What it could not hand on."""

    def send(self, prediction: Prediction) -> None:
        """Hands one on; never waits."""

    def forget(self, session: str) -> None:
        """The session has ended."""

    def close(self) -> None:
        """Hands on no more."""


class Failures:
    """What an outlet could not hand on: how often, and why the first time. `name` is for people."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.first: str | None = None

    def add(self, why: object) -> None:
        """One more."""
        self.first = self.first or str(why) or type(why).__name__
        self.count += 1


class Outlets:
    """All outlets of a subscription; use as a context manager. `tell` gets one line when one fails for the first time."""

    def __init__(self, outlets: Sequence[Outlet], tell: Callable[[str], None]) -> None:
        self._outlets = outlets
        self._tell = tell
        self._told: set[str] = set()

    def __enter__(self) -> Outlets:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for outlet in self._outlets:
            outlet.close()
        self._tell_failures()

    def send(self, prediction: Prediction) -> None:
        """Hands a prediction to each."""
        for outlet in self._outlets:
            outlet.send(prediction)
        self._tell_failures()

    def forget(self, session: str) -> None:
        """The session has ended."""
        for outlet in self._outlets:
            outlet.forget(session)
        self._tell_failures()

    def _tell_failures(self) -> None:
        for failures in (outlet.failures for outlet in self._outlets):
            if failures.count and failures.name not in self._told:
                self._told.add(failures.name)
                self._tell(f"{failures.name}: {failures.first}; what it can't take is left out, and told no more")


class Webhook:
    """POSTs the predictions with which `condition` comes true as JSON, from a thread of its own. Raises `InputError`."""

    def __init__(self, url: str, condition: Condition) -> None:
        try:
            parts = urlsplit(url)
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            fits = False
        if not fits:
            raise InputError("webhook", found=repr(url), expected="an http or https URL")
        self.failures = Failures(f"webhook {parts.scheme}://{parts.netloc.rpartition('@')[2]}")  # the rest may hold secrets
        self._condition = condition
        self._url = url
        self._queue: queue.Queue[bytes | None] = queue.Queue(WEBHOOK_QUEUED)
        self._thread = threading.Thread(target=self._post_all, name="webhook", daemon=True)
        self._thread.start()

    def send(self, prediction: Prediction) -> None:
        """Hands one over where it makes the condition true."""
        if not self._condition.holds(prediction):
            return
        try:
            self._queue.put_nowait(msgspec.json.encode(prediction))
        except queue.Full:
            self.failures.add(f"{WEBHOOK_QUEUED} alerts wait for an answer")

    def forget(self, session: str) -> None:
        """The condition begins anew with the next of that name."""
        self._condition.forget(session)

    def close(self) -> None:
        """Waits for what is under way, for as long as one answer may take."""
        try:
            self._queue.put(None, timeout=WEBHOOK_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(WEBHOOK_TIMEOUT_S)

    def _post_all(self) -> None:
        while (body := self._queue.get()) is not None:
            try:
                request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
                urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S).close()
            except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a redirect to no address
                self.failures.add(error.reason if type(error) is urllib.error.URLError else error)


class Osc:
    """Sends the numbers of each prediction as OSC 1.0 datagrams: /affectstream/CHANNEL, session, value (float32)."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
            raise InputError("OSC address", found=repr(address), expected="HOST:PORT")
        try:
            family, kind, _, _, to = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise InputError(f"OSC address {address}", found=error.strerror, expected="a host that is known") from error
        self._to: Any = to
        self._socket = socket.socket(family, kind)
        self._socket.setblocking(False)
        self.failures = Failures(f"OSC {address}")

    def send(self, prediction: Prediction) -> None:
        """Sends what is there of one prediction."""
        for name in CHANNELS + EMOTIONS:
            value = channel(prediction, name)
            if value is None:
                continue
            try:
                self._socket.sendto(osc_message(f"/affectstream/{name}", prediction.result.session, value), self._to)
            except OSError as error:
                self.failures.add(error.strerror)

    def forget(self, session: str) -> None:
        """Nothing is kept of it."""

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


def osc_message(address: str, text: str, value: float) -> bytes:
    """An OSC 1.0 message of a string and a float32."""
    return b"".join((_osc_string(address), _osc_string(",sf"), _osc_string(text), struct.pack(">f", value)))


def _osc_string(text: str) -> bytes:
    encoded = text.encode()
    return encoded + b"\0" * (4 - len(encoded) % 4)


class Lsl:
    """One Lab Streaming Layer outlet a session: irregular rate, a float32 a channel, NaN where it is absent.

    Raises `MissingExtraError` where the library is not there.
    """

    def __init__(self) -> None:
        try:
            import pylsl
        except (ImportError, RuntimeError) as error:
            raise MissingExtraError("Lab Streaming Layer", found=str(error), fix='pip install "affectstream[lsl]"') from error
        self.failures = Failures("Lab Streaming Layer")
        self._lsl = pylsl
        self._outlets: dict[str, Any] = {}
        self._ended: dict[str, None] = {}

    def send(self, prediction: Prediction) -> None:
        """Pushes the numbers of a final prediction."""
        result = prediction.result
        if result.status != "final":
            return
        self._ended.pop(result.session, None)
        values = [channel(prediction, name) for name in CHANNELS + EMOTIONS]
        try:
            if result.session not in self._outlets:
                self._outlets[result.session] = self._open(result.session)
            self._outlets[result.session].push_sample([math.nan if value is None else value for value in values])
        except (RuntimeError, OSError, ValueError) as error:  # what pylsl raises
            self.failures.add(error)

    def forget(self, session: str) -> None:
        """Closes outlets some sessions later: what is on its way when one closes is lost."""
        if session in self._outlets:
            self._ended[session] = None
        if len(self._ended) > LSL_ENDED:
            oldest = next(iter(self._ended))
            del self._ended[oldest], self._outlets[oldest]

    def close(self) -> None:
        """Closes the outlets."""
        self._outlets.clear()

    def _open(self, session: str) -> Any:
        lsl, names = self._lsl, CHANNELS + EMOTIONS
        info = lsl.StreamInfo(f"affectstream {session}", "Affect", len(names), lsl.IRREGULAR_RATE, lsl.cf_float32, session)
        channels = info.desc().append_child("channels")
        for name in names:
            channels.append_child("channel").append_child_value("label", name)
        return lsl.StreamOutlet(info)
