"""One line's way to its provider: httpx requests over the aiohttp transport, on one kept-alive pool.

One exchange is one attempt to send: no retries, no redirects, no proxy from the environment, no cookies. What comes
back is a whole :class:`Reply` or a :class:`Fault`, and a fault says ``sent=False`` only where it is proved that not one
byte of the request left, because then, and only then, the number may be dialled again without asking.

httpx's own transport gets slower the more requests are open, so ``httpx-aiohttp`` carries them. Its translation of
exceptions is coarser than we can afford: it turns *every* ``aiohttp.ClientConnectionError``, also a connection that the
server cut after reading the request, into ``httpx.ConnectTimeout`` (httpx-aiohttp 0.2.0, ``AIOHTTP_EXC_MAP``). So the
proof is taken from the aiohttp exception underneath where there is one.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from functools import cache, lru_cache, partial
from urllib.parse import quote, urlencode

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.providers.departing import DepartingRequest
from campaign.providers.port import Fault, Reply, Request

BODY_LIMIT = 1024 * 1024
"""Bytes of an answer; a longer one is a fault (the request was sent)."""

KEEPALIVE_SECONDS = 15.0
"""An idle connection is closed by us after this long, before servers and balancers close it (nginx 75 s, Apache and
uvicorn 5 s, AWS 60 s by default): a request on a connection that the other side has just closed cannot be told from one
that was read. Shorter costs a TLS handshake more often; servers that close after 5 s are noticed by their FIN."""

CONNECT_SHARE = 0.5
"""Waiting for a pool slot, DNS, TCP and TLS may use this share of the whole deadline; running out there is proved
unsent, while running out of the whole deadline proves nothing."""

PROVED_UNSENT: frozenset[type[Exception]] = frozenset(
    {
        aiohttp.ClientConnectorError,  # refused, unreachable: raised by the connector, before there is a connection
        aiohttp.ClientConnectorDNSError,
        aiohttp.ClientProxyConnectionError,
        aiohttp.client_exceptions.UnixClientConnectorError,
        aiohttp.ClientSSLError,
        aiohttp.ClientConnectorSSLError,
        aiohttp.ClientConnectorCertificateError,
        aiohttp.ConnectionTimeoutError,  # raised around connector.connect() alone; also a full pool
        aiohttp.InvalidURL,
        aiohttp.InvalidUrlClientError,
        aiohttp.NonHttpUrlClientError,
        httpx.ConnectError,
        httpx.ConnectTimeout,  # of a transport that means it; see the module's text for the one that does not
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.LocalProtocolError,
        httpx.InvalidURL,
    }
)
"""Exactly these classes, not their subclasses: a class that a new version adds is not proved."""

MAYBE_SENT: frozenset[type[Exception]] = frozenset(
    {
        httpx.HTTPError,
        httpx.RequestError,
        httpx.TransportError,
        httpx.TimeoutException,
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.NetworkError,
        httpx.ReadError,
        httpx.WriteError,
        httpx.CloseError,
        httpx.ProxyError,
        httpx.ProtocolError,
        httpx.RemoteProtocolError,
        httpx.DecodingError,
        httpx.TooManyRedirects,
        httpx.HTTPStatusError,
        httpx.StreamError,
        httpx.StreamConsumed,
        httpx.StreamClosed,
        httpx.ResponseNotRead,
        httpx.RequestNotRead,
        httpx.CookieConflict,
        TimeoutError,
    }
)
"""Named so that a test can tell a class that was judged from one that is new; an unknown class is treated the same."""

for _name in ("httpx", "httpcore", "aiohttp"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at INFO httpx logs whole URLs, with numbers and keys in them


class _TooLargeError(Exception):
    """The answer has more than BODY_LIMIT bytes."""


class LineSender:
    """The sender of one line. Lives on one event loop, from the first request to :meth:`aclose`.

    ``now`` gives epoch seconds. ``connections`` is the most requests open at once; the rest wait for a slot.
    ``transport`` replaces the network in tests.
    """

    def __init__(
        self,
        line: Line,
        *,
        now: Callable[[], float],
        connections: int = 1000,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Raises UsageFault where ``ca_file`` cannot be read."""
        self._base = line.base_url.rstrip("/")
        self._timeout = line.timeout
        self._now = now
        self._closed = False
        self._transport = transport or _transport(_tls(line), connections)

    def __repr__(self) -> str:
        return "LineSender()"

    def now(self) -> float:
        return self._now()

    async def send(self, request: Request, *, timeout: float | None = None) -> Reply | Fault:
        """One exchange within ``timeout`` seconds, the answer's last byte included. Cancelling it may leave a call."""
        if self._closed:
            return Fault(sent=False, reason="the line is closed")
        deadline = self._timeout if timeout is None else timeout
        try:
            built = build(self._base, request, connect_within=deadline * CONNECT_SHARE)
        except Exception as error:  # noqa: BLE001 - before any I/O, whatever it is: a header that is not ASCII, a bad URL
            return Fault(sent=False, reason=f"the request could not be built ({type(error).__name__})")
        try:
            async with asyncio.timeout(deadline):
                return await self._exchange(built)
        except Exception as error:  # noqa: BLE001 - the port promises a Fault for everything but a cancellation
            return as_fault(error)

    async def _exchange(self, built: httpx.Request) -> Reply:
        response = await self._transport.handle_async_request(built)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        return Reply(response.status_code, response.headers, body)

    async def aclose(self) -> None:
        """Closes the pool; a later send is refused, unsent."""
        self._closed = True
        await self._transport.aclose()


def build(base: str, request: Request, *, connect_within: float) -> httpx.Request:
    """The wire form. A ``+`` in a query or form becomes ``%2B``: as a space it would find nobody.

    The length and the host are left to aiohttp, which adds them anyway. Where httpx prepared them, and all others again
    for every call, a request took 42 microseconds to build; it takes 11.
    """
    content, content_type = b"", None
    if request.json is not None:
        content, content_type = _compact(request.json).encode(), "application/json"
    elif request.form is not None:
        content = urlencode(list(request.form), quote_via=quote).encode()
        content_type = "application/x-www-form-urlencoded"
    built = httpx.Request(
        request.method,
        _url(base, request),
        headers=_headers(content_type, tuple(request.headers.items())),
        stream=httpx.ByteStream(content),
        extensions={"timeout": {"pool": connect_within, "connect": connect_within}},
    )
    built.read()
    return built


_compact = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=64)
def _headers(content_type: str | None, more: tuple[tuple[str, str], ...]) -> httpx.Headers:
    """Made once for a line's every request of a kind; a request takes a copy."""
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "campaign"}
    if content_type is not None:
        headers["content-type"] = content_type
    headers.update((name.lower(), value) for name, value in more)
    return httpx.Headers(headers)


def _url(base: str, request: Request) -> httpx.URL:
    if request.query:
        return httpx.URL(f"{base}{request.path}?{urlencode(list(request.query), quote_via=quote)}")
    return _plain_url(base + request.path)


@lru_cache(maxsize=64)
def _plain_url(address: str) -> httpx.URL:
    return httpx.URL(address)


async def _read(response: httpx.Response) -> bytes:
    """The whole body. Not by ``aiter_raw``, whose layers cost a busy process 2 to 3 % of its time."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    parts: list[bytes] = []
    size = 0
    async for part in response.stream:
        size += len(part)
        if size > BODY_LIMIT:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


def as_fault(error: Exception) -> Fault:
    """The fault that an exception of the exchange means. Its text is class names and fixed words only."""
    if isinstance(error, _TooLargeError):
        return Fault(sent=True, reason="the answer is larger than one MiB")
    if type(error) is TimeoutError:
        return Fault(sent=True, reason="no whole answer within the deadline")
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    sent = type(cause) not in PROVED_UNSENT
    words = "the exchange broke after it may have been sent" if sent else "could not connect, nothing was sent"
    return Fault(sent=sent, reason=f"{words} ({type(cause).__name__})")


def _tls(line: Line) -> ssl.SSLContext:
    if not line.verify_tls:
        return httpx.create_ssl_context(verify=False, trust_env=False)
    if line.ca_file is None:
        encrypted = line.base_url.lower().startswith("https:")
        return _well_known() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which trusts nobody
    try:
        return ssl.create_default_context(cafile=line.ca_file)
    except (OSError, ValueError) as error:
        raise UsageFault(
            f"lines.{line.name}.ca_file cannot be read as PEM certificates ({type(error).__name__}); "
            "give the path of a readable PEM file or leave the key out"
        ) from None


@cache
def _well_known() -> ssl.SSLContext:
    """Read once for all lines: it takes 40 ms."""
    return httpx.create_ssl_context(trust_env=False)


def _transport(tls: ssl.SSLContext, connections: int) -> httpx.AsyncBaseTransport:
    return AiohttpTransport(verify=tls, trust_env=False, client=partial(_session, tls, connections))


def _session(tls: ssl.SSLContext, connections: int) -> aiohttp.ClientSession:
    """Made inside the running loop, at the first request."""
    connector = aiohttp.TCPConnector(
        limit=connections,
        limit_per_host=0,
        ssl=tls,
        keepalive_timeout=KEEPALIVE_SECONDS,
        ttl_dns_cache=60,
    )
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, request_class=DepartingRequest
    )
    # aiohttp sends an idempotent request (not POST) once more, silently, when a kept-alive connection breaks
    # (aiohttp 3.14 client.py, `retry_persistent_connection`). One exchange is one request here; a test counts them.
    session._retry_connection = False
    return session
