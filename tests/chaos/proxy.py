"""A TCP proxy that misbehaves on demand, between the runner and PostgreSQL, Redis or a provider.

It runs on an event loop in a thread of its own; every method may be called from any thread and returns once it has
taken effect. What makes it more than a socket pump is :meth:`Proxy.cut_after`: the connection ends right after given
bytes (``COMMIT``) have gone to the server, so the client never learns whether the server heard them.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from tests.servers import free_port

CHUNK = 65_536
ANSWER_WITHIN = 2.0
HANDING_OVER = 4
"""Rounds of the loop within which an accepted connection has become one of ours."""

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Toxics:
    """What is done to every chunk. ``latency`` in seconds per chunk, ``bandwidth`` in bytes per second, ``slice_size``
    in bytes per write; ``blackhole`` swallows both directions and keeps the connections open."""

    latency: float = 0.0
    bandwidth: float | None = None
    slice_size: int | None = None
    blackhole: bool = False


@dataclass(slots=True)
class _Trap:
    """Cut the connection on which ``pattern`` goes by; ``answered``: only once the server has answered to it."""

    pattern: bytes
    answered: bool


@dataclass(slots=True, eq=False)
class _Link:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left: int | None = None
    springing: bool = False
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)


class Proxy:
    """Listens on ``port`` of loopback and passes everything to ``upstream`` (host, port) until told otherwise."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.port = free_port()
        self.cuts = 0
        self._toxics = Toxics()
        self._traps: list[_Trap] = []
        self._limit: int | None = None
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()
        self._now(self._listen())

    def stop(self) -> None:
        """Ends every connection and the thread."""
        self._now(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    # --- toxics

    def become(self, **toxics: Any) -> None:
        """Sets fields of :class:`Toxics` for every connection, also those that exist."""
        self._call(lambda: setattr(self, "_toxics", replace(self._toxics, **toxics)))

    def heal(self) -> None:
        """No toxics, no traps, no limit; listening again."""
        self._call(self._forget)
        self._now(self._listen())

    def cut(self) -> int:
        """Resets every connection now; how many."""
        return int(self._call(self._cut_all))

    def cut_after(self, pattern: bytes, *, answered: bool) -> None:
        """The next connection on which the client sends ``pattern`` is reset once that has been passed on; with
        ``answered`` once the server has answered to it, and the answer is swallowed. One trap, one cut."""
        self._call(lambda: self._traps.append(_Trap(pattern, answered)))

    def limit(self, size: int | None) -> None:
        """Every new connection is reset after ``size`` bytes from the server."""
        self._call(lambda: setattr(self, "_limit", size))

    def refuse(self) -> None:
        """Nobody can connect any more, and those who had are cut off; until :meth:`heal`."""
        self._now(self._close())
        self.cut()

    def connections(self) -> int:
        return int(self._call(lambda: len(self._links)))

    # --- the loop's side

    def _now(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    def _call(self, work: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - told to the thread that waits
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(10.0)

    def _forget(self) -> None:
        self._toxics, self._traps, self._limit = Toxics(), [], None

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _close(self) -> None:
        """No new connection first: one that asyncio has accepted and not yet handed over when its server is closed
        would stay open, with nobody to answer it."""
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:
            self._loop.remove_reader(listening)
        for _ in range(HANDING_OVER):
            await asyncio.sleep(0)
        server.close()

    async def _end(self) -> None:
        await self._close()
        self._cut_all()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _cut_all(self) -> int:
        links = list(self._links)
        for link in links:
            self._reset(link)
        self.cuts += len(links)
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, server = await asyncio.open_connection(*self.upstream)
        except (OSError, asyncio.CancelledError):
            _abort(writer)
            return
        if self._server is None:  # refused meanwhile
            _abort(writer)
            server.close()
            return
        link = _Link(writer, server, self._limit)
        self._links.add(link)
        link.tasks = [
            asyncio.create_task(self._pump(link, reader, server, from_client=True)),
            asyncio.create_task(self._pump(link, upstream, writer, from_client=False)),
        ]

    async def _pump(
        self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, from_client: bool
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                if self._toxics.blackhole:
                    continue
                if not await (self._forward(link, data) if from_client else self._return(link, data)):
                    return
            self._close_link(link)
        except (OSError, asyncio.IncompleteReadError):
            self._reset(link)

    async def _forward(self, link: _Link, data: bytes) -> bool:
        """Client to server. False where the connection has been cut."""
        trap = next((trap for trap in self._traps if trap.pattern in data), None)
        if trap is not None:
            self._traps.remove(trap)
            link.springing = trap.answered
        await self._write(link.server, data)
        if trap is None:
            return True
        if trap.answered:
            self._loop.call_later(ANSWER_WITHIN, self._spring, link)
            return True
        self._spring(link)
        return False

    async def _return(self, link: _Link, data: bytes) -> bool:
        """Server to client. False where the connection has been cut."""
        if link.springing:
            self._spring(link)
            return False
        if link.left is not None:
            data, link.left = data[: link.left], link.left - len(data)
        await self._write(link.client, data)
        if link.left is not None and link.left <= 0:
            self._spring(link)
            return False
        return True

    def _spring(self, link: _Link) -> None:
        if link in self._links:
            self.cuts += 1
            self._reset(link)

    async def _write(self, sink: asyncio.StreamWriter, data: bytes) -> None:
        toxics = self._toxics
        if toxics.latency:
            await asyncio.sleep(toxics.latency)
        size = toxics.slice_size or len(data) or 1
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            sink.write(piece)
            await sink.drain()
            if toxics.bandwidth:
                await asyncio.sleep(len(piece) / toxics.bandwidth)
            elif toxics.slice_size:
                await asyncio.sleep(0.001)

    def _close_link(self, link: _Link) -> None:
        self._links.discard(link)
        link.client.close()
        link.server.close()
        self._stop_pumps(link)

    def _reset(self, link: _Link) -> None:
        self._links.discard(link)
        _abort(link.client)
        link.server.close()  # with a FIN: what has been passed on is still read
        self._stop_pumps(link)

    def _stop_pumps(self, link: _Link) -> None:
        """All but the one that says so: nothing else holds on to a pump whose connection is gone."""
        mine = asyncio.current_task() if asyncio.get_running_loop() is self._loop else None
        for task in link.tasks:
            if task is not mine:
                task.cancel()


def _abort(writer: asyncio.StreamWriter) -> None:
    """A TCP reset towards the other side."""
    peer = writer.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
