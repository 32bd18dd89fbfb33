"""Small servers that misbehave in one way each, on real sockets, and count what reaches them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from campaign.domain.line import Line
from campaign.providers.http import LineSender
from campaign.providers.port import Fault, Reply, Request
from campaign.providers.transport import BODY_LIMIT

Behaviour = Callable[["Visit"], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Visit:
    """One request as the server sees it; ``head`` and ``body`` are filled by :meth:`read`."""

    server: "Server"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes = b""
    body: bytes = b""

    async def read(self) -> bool:
        """Reads one whole request and counts it; False where the client has gone."""
        try:
            self.head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in self.head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            self.body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.server.heads.append(self.head)
        self.server.bodies.append(self.body)
        return True

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    over: int = 0
    """Connections of which the behaviour has come to its end."""

    @property
    def requests(self) -> int:
        return len(self.heads)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[Server]:
    """A server on loopback that treats each connection with ``behaviour``; everything is closed at the end."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            await behaviour(Visit(server, reader, writer))
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            server.over += 1
            writer.close()
            tasks.discard(task)

    listening = await asyncio.start_server(visit, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def a_line(url: str, timeout: float = 5.0) -> Line:
    return Line(name="recall", provider="nexbro", base_url=url, timeout=timeout)


@asynccontextmanager
async def sending(url: str, *, timeout: float = 5.0, connections: int = 1000) -> AsyncIterator[LineSender]:
    sender = LineSender(a_line(url, timeout), now=lambda: 1_795_000_000.0, connections=connections)
    try:
        yield sender
    finally:
        await sender.aclose()
        await asyncio.sleep(0)


PHONE = "+14155550123"
KEY = "sk_canary_0123456789"
POST = Request("POST", "/calls", {"X-API-KEY": KEY}, json={"to": PHONE})
GET = Request("GET", "/calls", {"X-API-KEY": KEY}, query=[("mobile", PHONE)])


async def answers_ok(visit: Visit) -> None:
    while await visit.read():
        await visit.say(OK)


async def hangs(visit: Visit) -> None:
    await visit.read()
    await asyncio.sleep(60)


async def giant(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT * 50))
    for _ in range(50):
        await visit.say(b" " * BODY_LIMIT)


def exchange(
    behaviour: Callable[[Visit], Awaitable[None]], request: Request = POST, timeout: float = 5.0
) -> tuple[Reply | Fault, Server]:
    async def run() -> tuple[Reply | Fault, Server]:
        async with serving(behaviour) as server, sending(server.url, timeout=timeout) as sender:
            return await sender.send(request), server

    return asyncio.run(run())
