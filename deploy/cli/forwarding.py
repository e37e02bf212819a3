"""Predictions handed on by `affectstream subscribe`: OSC datagrams, a webhook under a condition, Lab Streaming Layer."""

from __future__ import annotations

import math
import queue
import re
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from stream.errors import InputError, MissingExtraError
from stream.prediction import Prediction
from stream.timeline.time import NS_PER_SECOND

CHANNELS = ("sentiment", "valence", "arousal")
EMOTIONS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
WEBHOOK_QUEUED = 64
"""Alerts that wait for a slow server; more are let go, and counted."""
WEBHOOK_TIMEOUT_S = 5.0
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


class Webhook:
    """POSTs predictions as JSON from a thread of its own; `failed` counts those that no server took."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError("webhook", found=repr(url), expected="an http or https URL")
        self.failed = 0
        self._url = url
        self._queue: queue.Queue[bytes | None] = queue.Queue(WEBHOOK_QUEUED)
        self._thread = threading.Thread(target=self._post_all, name="webhook", daemon=True)
        self._thread.start()

    def send(self, prediction: Prediction) -> None:
        """Hands one over; never waits."""
        try:
            self._queue.put_nowait(msgspec.json.encode(prediction))
        except queue.Full:
            self.failed += 1

    def close(self) -> None:
        """Waits for what is under way, for as long as one answer may take."""
        try:
            self._queue.put(None, timeout=WEBHOOK_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(WEBHOOK_TIMEOUT_S)

    def _post_all(self) -> None:
        while (body := self._queue.get()) is not None:
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S).close()
            except (urllib.error.URLError, OSError):
                self.failed += 1


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
        self.failed = 0

    def send(self, prediction: Prediction) -> None:
        """Sends what is there of one prediction."""
        for name in CHANNELS + EMOTIONS:
            value = channel(prediction, name)
            if value is None:
                continue
            try:
                self._socket.sendto(osc_message(f"/affectstream/{name}", prediction.result.session, value), self._to)
            except OSError:
                self.failed += 1

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
    """One Lab Streaming Layer outlet a session: irregular rate, a float32 a channel, NaN where it is absent."""

    def __init__(self) -> None:
        try:
            import pylsl
        except (ImportError, RuntimeError) as error:
            raise MissingExtraError("Lab Streaming Layer", found=str(error), fix='pip install "affectstream[lsl]"') from error
        self._lsl = pylsl
        self._outlets: dict[str, Any] = {}
        self.failed = 0

    def send(self, prediction: Prediction) -> None:
        """Pushes the numbers of a final prediction."""
        result = prediction.result
        if result.status != "final":
            return
        if result.session not in self._outlets:
            lsl, names = self._lsl, CHANNELS + EMOTIONS
            info = lsl.StreamInfo(
                f"affectstream {result.session}", "Affect", len(names), lsl.IRREGULAR_RATE, lsl.cf_float32, result.session
            )
            channels = info.desc().append_child("channels")
            for name in names:
                channels.append_child("channel").append_child_value("label", name)
            self._outlets[result.session] = lsl.StreamOutlet(info)
        values = [channel(prediction, name) for name in CHANNELS + EMOTIONS]
        self._outlets[result.session].push_sample([math.nan if value is None else value for value in values])

    def close(self) -> None:
        """Closes the outlets."""
        self._outlets.clear()
