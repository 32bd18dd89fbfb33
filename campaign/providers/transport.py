"""A pool of kept-alive connections, with nothing between a request and the socket. It is a transport for httpx, too.

A request is one write, in the turn of the event loop in which it is sent, and right after it is told that it has left
(docs/decisions/0013-a-transport-of-our-own.md says why no other transport does). What is raised before that is one of
httpx's ConnectError, ConnectTimeout, UnsupportedProtocol and LocalProtocolError, and these are raised at no other
time: so a fault tells whether a byte of the request can have left.
"""

import asyncio
import ssl
from collections.abc import Iterable
from functools import partial

import httpx

from campaign.providers.connection import Answer, Connection, Origin
from campaign.providers.port import on_departure

PORTS = {"http": 80, "https": 443}
OURS = (b"host", b"content-length")
"""Headers that the transport writes itself."""

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer's body; a longer one is a fault (the request was sent)."""

NEXT_ADDRESS_AFTER = 0.25
"""Seconds after which the next address of a host is tried, too (RFC 8305)."""

KEPT_FOR = 15.0
"""Seconds after which we close an idle connection, before servers and balancers close it (nginx 75 s, Apache and
uvicorn 5 s, AWS 60 s by default): a request on a connection that the other side has just closed cannot be told from one
that was read. Shorter costs a TLS handshake more often; servers that close after 5 s are noticed by their FIN."""


class DirectTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1. Lives on one event loop. No retries, no redirects, no proxies, no cookies, no HEAD.

    ``connections`` is the most requests open at once; the rest wait for a slot. A body of more than ``body_limit``
    bytes raises AnswerTooLargeError.
    """

    def __init__(self, tls: ssl.SSLContext, *, connections: int, body_limit: int = BODY_LIMIT) -> None:
        self._tls = tls
        self._body_limit = body_limit
        self._slots = asyncio.Semaphore(connections)
        self._idle: dict[Connection, None] = {}  # the one used last comes last, and is used next
        self._open: set[Connection] = set()
        self._sweeping: asyncio.TimerHandle | None = None

    async def exchange(self, origin: Origin, written: bytes, connect_within: float | None = None) -> Answer:
        """Send a request as it goes over the wire; its whole answer. ``connect_within`` seconds bound the wait for a
        slot and a connection; the rest is the caller's to bound, by cancelling this."""
        connection = await self._taken(origin, connect_within)
        try:
            return await self._answered(connection, written)
        finally:
            self._slots.release()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """For httpx's own clients. Of the timeouts in the request's extensions only ``connect`` counts."""
        written = _written(request, await request.aread())
        connect_within = request.extensions.get("timeout", {}).get("connect")
        answer = await self.exchange(origin_of(request.url), written, connect_within)
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._open):
            connection.abort()

    async def _answered(self, connection: Connection, written: bytes) -> Answer:
        waiting = connection.send(written)
        if (tell := on_departure.get()) is not None:
            tell()
        try:
            answer = await waiting
        except BaseException:
            connection.abort()
            raise
        self._keep(connection)
        return answer

    # --- the pool

    async def _taken(self, origin: Origin, within: float | None) -> Connection:
        """A slot and a connection in it."""
        if not self._slots.locked() and (kept := self._kept(origin)) is not None:
            await self._slots.acquire()  # at once
            return kept
        try:
            async with asyncio.timeout(within):
                await self._slots.acquire()
                try:
                    return self._kept(origin) or await self._made(origin)
                except BaseException:
                    self._slots.release()
                    raise
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None

    def _kept(self, origin: Origin) -> Connection | None:
        kept = next((one for one in reversed(self._idle) if one.origin == origin), None)
        if kept is None or kept.idle_since + KEPT_FOR < asyncio.get_running_loop().time():
            return None
        del self._idle[kept]
        return kept

    async def _made(self, origin: Origin) -> Connection:
        tls = self._tls if origin.scheme == "https" else None
        new = partial(Connection, origin, self._body_limit, self._gone)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                new, origin.host, origin.port, ssl=tls, happy_eyeballs_delay=NEXT_ADDRESS_AFTER
            )
        except TimeoutError:
            raise
        except Exception as error:
            raise httpx.ConnectError("no connection") from error
        if not connection.usable:
            raise httpx.ConnectError("the connection was closed at once")
        self._open.add(connection)
        return connection

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def _keep(self, connection: Connection) -> None:
        if not connection.usable:
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle[connection] = None
        if self._sweeping is None:
            self._sweeping = loop.call_later(KEPT_FOR, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        loop = asyncio.get_running_loop()
        self._sweeping = None
        for connection in list(self._idle):  # the longest idle first
            if connection.idle_since + KEPT_FOR > loop.time():
                self._sweeping = loop.call_at(connection.idle_since + KEPT_FOR, self._sweep)
                return
            connection.abort()


def origin_of(url: httpx.URL) -> Origin:
    """Raises UnsupportedProtocol."""
    if url.scheme not in PORTS or not url.host:
        raise httpx.UnsupportedProtocol("the address is neither http:// nor https:// and a host")
    return Origin(url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme], url.netloc)


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """As they go over the wire. Raises LocalProtocolError where one would become two."""
    lines = [name + b": " + value for name, value in headers]
    if any(forbidden in line for line in lines for forbidden in (b"\r", b"\n", b"\0")):
        raise httpx.LocalProtocolError("a header holds a line break")
    return b"".join(line + b"\r\n" for line in lines)


def on_the_wire(method: str, path: bytes, origin: Origin, headers: bytes, body: bytes) -> bytes:
    """A whole request. ``path`` is as httpx's URLs have it, with the query; ``headers`` are header_lines."""
    length = b"content-length: %d\r\n" % len(body) if body or method != "GET" else b""
    return b"%s %s HTTP/1.1\r\nhost: %s\r\n%s%s\r\n%s" % (
        method.encode("ascii"), path, origin.netloc, headers, length, body,
    )  # fmt: skip


def _written(request: httpx.Request, body: bytes) -> bytes:
    headers = header_lines(one for one in request.headers.raw if one[0].lower() not in OURS)
    return on_the_wire(request.method, request.url.raw_path, origin_of(request.url), headers, body)
