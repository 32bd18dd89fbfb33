"""One kept-alive HTTP/1.1 connection: a request out, its whole answer back, one after the other.

httptools (llhttp, the parser of Node.js) reads the answers. Whatever an answer does that it may not, the connection is
not used again, and nor is one on which something comes that nobody has asked for: it might be taken for the answer to
the next request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

HEAD_LIMIT = 64 * 1024
"""Bytes of an answer before its body."""

SPREAD = 2
"""Bytes of a whole answer after its head for each one of its body that is allowed: how chunks are cut takes some, and
trailers, which nobody here reads."""

FINAL = 200
"""The first status of an answer after which no other comes."""

LENIENCIES = {
    "lenient_headers": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
}
"""Of answers that servers do give and that mean one thing only."""


class Origin(NamedTuple):
    """Where a connection leads to. ``netloc`` is host and port as the Host header has them."""

    scheme: str
    host: str
    port: int
    netloc: bytes


class AnswerTooLargeError(httpx.RemoteProtocolError):
    """An answer's body has more bytes than it may have. The request was sent."""


@dataclass(slots=True)
class Answer:
    """``headers`` are as they came."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Connection(asyncio.Protocol):
    """Used from one event loop. ``ended`` is called once, when the connection can carry nothing any more.

    ``origin`` says where it leads to, ``idle_since`` by the loop's clock when it carried something last: the pool's.
    """

    def __init__(self, origin: Origin, body_limit: int, ended: "Callable[[Connection], object]") -> None:
        self.origin = origin
        self.idle_since = 0.0
        self.usable = False
        self._body_limit = body_limit
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**LENIENCIES)
        self._forget()

    def _forget(self) -> None:
        self._answer = Answer()
        self._parts: list[bytes] = []
        self._size = self._body_size = 0
        self._in_body = self._length_known = False

    # --- what the line asks for

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        """Write a whole request at once; the future holds its answer, or raises what httpx raises where none came."""
        assert self._transport is not None
        assert self._waiting is None
        self._forget()
        waiting = self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return waiting

    def abort(self) -> None:
        """Whatever is under way is lost."""
        self._end(None)

    # --- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._end(httpx.RemoteProtocolError("it speaks another protocol from here on"))
        except HttpParserError as error:
            self._end(_caused(httpx.RemoteProtocolError("not an answer in HTTP/1.1"), error))
        if self._size > HEAD_LIMIT + (SPREAD * self._body_limit if self._in_body else 0):
            self._end(httpx.RemoteProtocolError("the answer's head, or its trailers, have no end"))

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._in_body and not self._length_known:
            self._whole(reusable=False)
        self._end(_caused(httpx.ReadError("the connection broke"), exc) if exc else None)

    # --- what the parser tells

    def on_message_begin(self) -> None:
        if self._waiting is None:
            self._end(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return
        self._answer.headers.append((name, value))
        lowered = name.lower()
        if lowered == b"content-length" or (lowered == b"transfer-encoding" and b"chunked" in value.lower()):
            self._length_known = True

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._in_body = self._answer.status >= FINAL

    def on_body(self, part: bytes) -> None:
        self._body_size += len(part)
        if self._body_size > self._body_limit:
            self._end(AnswerTooLargeError("the answer is too large"))
        else:
            self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._answer.status < FINAL:
            self._answer, self._length_known = Answer(), False  # the one that counts is still to come
        else:
            self._whole(reusable=self._parser.should_keep_alive())

    # --- ends

    def _whole(self, *, reusable: bool) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            return
        self._answer.body = b"".join(self._parts)
        waiting.set_result(self._answer)
        if not reusable:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        """For good; a second time it does nothing."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error or httpx.RemoteProtocolError("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()
        if self.usable:
            self.usable = False
            self._ended(self)


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error
