"""A subscriber for asyncio. It reads on a thread of its own: ZeroMQ's asyncio sockets stall and leak under load."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from stream.prediction import Prediction
from stream.publishing.subscriber import Subscriber
from stream.publishing.wire import DEFAULT_ENDPOINT, Gap, Message

AHEAD = 256
"""Messages read before they are asked for; the rest waits in ZeroMQ."""


class AsyncSubscriber:
    """As `Subscriber`, with the same arguments: `async with`, `async for`. What that one raises, iterating raises."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, session: str | None = None, **options: Any) -> None:
        self.subscriber = Subscriber(endpoint, session, **options)
        self._ready: asyncio.Queue[Message | Gap | BaseException | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._thread: threading.Thread | None = None
        self._stopped = False

    async def __aenter__(self) -> AsyncSubscriber:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Prediction | Gap]:
        async for item in self.messages():
            if isinstance(item, Gap):
                yield item
            elif isinstance(item.body, Prediction):
                yield item.body

    async def messages(self) -> AsyncIterator[Message | Gap]:
        """Predictions and session events with their headers, and gaps."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._read, args=(loop,), name="subscriber", daemon=True)
            self._thread.start()
        while True:
            item = await self._ready.get()
            self._room.release()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def latest(self) -> dict[tuple[str, str], Prediction]:
        """As `Subscriber.latest`."""
        return self.subscriber.latest()

    async def close(self) -> None:
        """Disconnects."""
        self._stopped = True
        self.subscriber.stop()
        self._room.release()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self.subscriber.close()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        last: BaseException | None = None
        try:
            for item in self.subscriber.messages():
                self._room.acquire()
                if self._stopped:
                    return
                loop.call_soon_threadsafe(self._ready.put_nowait, item)
        except Exception as error:
            last = error
        if not self._stopped:
            loop.call_soon_threadsafe(self._ready.put_nowait, last)
