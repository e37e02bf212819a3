"""A TCP relay that cuts the connections through it, also in the middle of a message. It needs no root."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

FROM, TO = "127.0.0.1", "127.0.0.2"
_CHUNK = 1_500
_PATIENCE_S = 60.0


class Relay:
    """What listens on 127.0.0.1 at some ports is reached at 127.0.0.2 as well, each chunk `delay_s` late."""

    def __init__(self, ports: tuple[int, ...], *, delay_s: float = 0.0) -> None:
        self.cuts = 0
        self._ports = ports
        self._delay_s = delay_s
        self._shut = False
        self._left: int | None = None
        self._knocked = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut_after(self, size: int) -> None:
        """Once so many bytes more have come from the publisher all is cut, wherever in a message that is; the next one may."""
        self._left = size

    def cut(self) -> None:
        """Ends what is connected and lets nobody through until `mend`."""

        async def cut() -> None:
            self._shut = True
            self._abort()

        self._knocked.clear()
        self._run(cut())

    def wait_for_knock(self) -> None:
        """Until somebody has tried to connect since it was cut."""
        assert self._knocked.wait(_PATIENCE_S)

    def mend(self) -> None:
        """Lets them through again."""
        self._shut = False

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        def meet(port: int) -> Any:
            async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._meet(reader, writer, port)

            return met

        for port in self._ports:
            self._servers.append(await asyncio.start_server(meet(port), TO, port))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._abort()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        if self._shut:
            self._knocked.set()
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(FROM, port)
        except ConnectionError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer, counted=True))
        self._writers -= pair

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool = False) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await asyncio.sleep(self._delay_s)
                if counted and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                writer.write(data)
                await writer.drain()
                if self._left is not None and self._left <= 0:
                    self._left = None
                    self._abort()
        except ConnectionError:
            pass
        writer.transport.abort()

    def _abort(self) -> None:
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
