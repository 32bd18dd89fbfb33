"""One line's way to its provider, on one kept-alive pool.

One exchange is one attempt to send: no retries, no redirects, no proxy from the environment, no cookies. What comes
back is a whole :class:`Reply` or a :class:`Fault`, and a fault says ``sent=False`` only where it is proved that not one
byte of the request left, because then, and only then, the number may be dialled again without asking.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Protocol
from urllib.parse import quote, urlencode

import httpx

from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.providers.connection import Answer, AnswerTooLargeError, Origin
from campaign.providers.port import Fault, Reply, Request
from campaign.providers.transport import DirectTransport, header_lines, on_the_wire, origin_of

CONNECT_SHARE = 0.5
"""Waiting for a pool slot, DNS, TCP and TLS may use this share of the whole deadline; running out there is proved
unsent, while running out of the whole deadline proves nothing."""

PROVED_UNSENT: frozenset[type[Exception]] = frozenset(
    {
        httpx.ConnectError,
        httpx.ConnectTimeout,
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
        AnswerTooLargeError,
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

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at INFO httpx logs whole URLs, with numbers and keys in them


class Wire(Protocol):
    """What carries a line's requests."""

    async def exchange(self, origin: Origin, written: bytes, connect_within: float | None = None) -> Answer:
        """A request's whole answer. Raises httpx's errors, those of PROVED_UNSENT only where nothing has left."""
        ...

    async def aclose(self) -> None: ...


class LineSender:
    """The sender of one line. Lives on one event loop, from the first request to :meth:`aclose`.

    ``now`` gives epoch seconds. ``connections`` is the most requests open at once; the rest wait for a slot.
    ``wire`` replaces the network in tests.
    """

    def __init__(
        self,
        line: Line,
        *,
        now: Callable[[], float],
        connections: int = 1000,
        wire: Wire | None = None,
    ) -> None:
        """Raises UsageFault where ``ca_file`` cannot be read."""
        self._base = line.base_url.rstrip("/")
        self._timeout = line.timeout
        self._now = now
        self._closed = False
        self._wire: Wire = wire or DirectTransport(_tls(line), connections=connections)

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
            origin, written = build(self._base, request)
        except Exception as error:  # noqa: BLE001 - before any I/O, whatever it is: a header that is not ASCII, a bad URL
            return Fault(sent=False, reason=f"the request could not be built ({type(error).__name__})")
        try:
            async with asyncio.timeout(deadline):
                answer = await self._wire.exchange(origin, written, deadline * CONNECT_SHARE)
        except Exception as error:  # noqa: BLE001 - the port promises a Fault for everything but a cancellation
            return as_fault(error)
        return Reply(answer.status, httpx.Headers(answer.headers), answer.body)

    async def aclose(self) -> None:
        """Closes the pool; a later send is refused, unsent."""
        self._closed = True
        await self._wire.aclose()


def build(base: str, request: Request) -> tuple[Origin, bytes]:
    """Where to, and the wire form. A ``+`` in a query or form becomes ``%2B``: as a space it would find nobody.

    Not by httpx's Request and Response: with them a send took 65 microseconds of the event loop, and takes 30 without
    (medians of six runs with a connection that answers at once).
    """
    content, content_type = b"", None
    if request.json is not None:
        content, content_type = _compact(request.json).encode(), "application/json"
    elif request.form is not None:
        content = urlencode(list(request.form), quote_via=quote).encode()
        content_type = "application/x-www-form-urlencoded"
    origin, path = _place(base, request)
    headers = _headers(content_type, tuple(request.headers.items()))
    return origin, on_the_wire(request.method, path, origin, headers, content)


_compact = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=64)
def _headers(content_type: str | None, more: tuple[tuple[str, str], ...]) -> bytes:
    """Made once for a line's every request of a kind."""
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "campaign"}
    if content_type is not None:
        headers["content-type"] = content_type
    headers.update((name.lower(), value) for name, value in more)
    return header_lines((name.encode("ascii"), value.encode("ascii")) for name, value in headers.items())


def _place(base: str, request: Request) -> tuple[Origin, bytes]:
    if request.query:
        return _found(f"{base}{request.path}?{urlencode(list(request.query), quote_via=quote)}")
    return _found_before(base + request.path)


def _found(address: str) -> tuple[Origin, bytes]:
    url = httpx.URL(address)
    return origin_of(url), url.raw_path


_found_before = lru_cache(maxsize=64)(_found)


def as_fault(error: Exception) -> Fault:
    """The fault that an exception of the exchange means. Its text is class names and fixed words only."""
    if isinstance(error, AnswerTooLargeError):
        return Fault(sent=True, reason="the answer is larger than one MiB")
    if type(error) is TimeoutError:
        return Fault(sent=True, reason="no whole answer within the deadline")
    sent = type(error) not in PROVED_UNSENT
    words = "the exchange broke after it may have been sent" if sent else "could not connect, nothing was sent"
    return Fault(sent=sent, reason=f"{words} ({type(error.__cause__ or error).__name__})")


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
