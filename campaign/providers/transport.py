"""httpx's transport for our requests: a pool of kept-alive connections, with nothing between a request and the socket.

A request is one write, in the turn of the event loop in which it is sent, and right after it is told that it has left
(docs/decisions/0013-a-transport-of-our-own.md says why no other transport does). What is raised before that is one of
httpx's ConnectError, ConnectTimeout, UnsupportedProtocol and LocalProtocolError, and these are raised at no other
time: so a fault tells whether a byte of the request can have left.
"""

import asyncio
import ssl
from functools import partial

import httpx

from campaign.providers.connection import Answer, Connection, Origin
from campaign.providers.port import on_departure

PORTS = {"http": 80, "https": 443}
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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer with its whole body. Of the timeouts in the request's extensions ``connect`` bounds the wait for a
        slot and a connection; the rest is the caller's to bound, by cancelling this."""
        written = _written(request, await request.aread())
        connection = await self._taken(request)
        try:
            answer = await self._exchange(connection, written)
        finally:
            self._slots.release()
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self._open):
            connection.abort()

    async def _exchange(self, connection: Connection, written: bytes) -> Answer:
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

    async def _taken(self, request: httpx.Request) -> Connection:
        """A slot and a connection in it."""
        origin = request.url.scheme, request.url.netloc
        if not self._slots.locked() and (kept := self._kept(origin)) is not None:
            await self._slots.acquire()  # at once
            return kept
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                await self._slots.acquire()
                try:
                    return self._kept(origin) or await self._made(request.url)
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

    async def _made(self, url: httpx.URL) -> Connection:
        if url.scheme not in PORTS or not url.host:
            raise httpx.UnsupportedProtocol("the address is neither http:// nor https:// and a host")
        host, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        tls = self._tls if url.scheme == "https" else None
        new = partial(Connection, (url.scheme, url.netloc), self._body_limit, self._gone)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                new, host, port, ssl=tls, happy_eyeballs_delay=NEXT_ADDRESS_AFTER
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


def _written(request: httpx.Request, body: bytes) -> bytes:
    """As it goes over the wire. Raises LocalProtocolError where a header would become two."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    if "host" not in request.headers:
        lines.append(b"host: " + request.url.netloc)
    if "content-length" not in request.headers and (body or request.method != "GET"):
        lines.append(b"content-length: %d" % len(body))
    lines += [name + b": " + value for name, value in request.headers.raw]
    head = b"\r\n".join(lines)
    if not head.count(b"\r") == head.count(b"\n") == len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header holds a line break")
    return head + b"\r\n\r\n" + body
