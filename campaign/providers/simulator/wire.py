"""HTTP/1.1 as far as a simulator needs it: requests in, answers out, whole or spoiled, on kept-alive connections.

A protocol of its own rather than a web framework, for two reasons: a framework costs more than the call it carries
(load tests need thousands of requests a second from one core), and none lets a server cut, drip or hang at will.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 8 * 1024 * 1024
PIECE = 64 * 1024
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_RESET = struct.pack("ii", 1, 0)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass
class Request:
    """``path`` is decoded, ``raw_path`` as it came; header names are lower-case."""

    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes

    @cached_property
    def path(self) -> str:
        raw = self.raw_path.partition("?")[0]
        return unquote(raw) if "%" in raw else raw

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.raw_path.partition("?")[2], keep_blank_values=True)

    def words(self, name: str) -> list[str]:
        """Every value of one query parameter."""
        return [value for key, value in self.query if key == name]

    def word(self, name: str, default: str = "") -> str:
        return next(iter(self.words(name)), default)

    @cached_property
    def json(self) -> object:
        """The body as JSON, None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def fields(self) -> dict[str, object]:
        """The body as an object, from JSON or from a form; {} where it is neither."""
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))
        return self.json if isinstance(self.json, dict) else {}

    def bearer(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None


class Manner(Enum):
    """How an answer leaves."""

    WHOLE = auto()
    DRIP = auto()  # byte by byte
    CUT = auto()  # half of the body, then the connection ends
    RESET = auto()  # nothing, a TCP reset
    HANG = auto()  # nothing; after ``delay`` seconds a reset


@dataclass(slots=True)
class Answer:
    """``delay`` is seconds before the first byte leaves; ``pause`` seconds between two bytes of a drip."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    delay: float = 0.0
    manner: Manner = Manner.WHOLE
    pause: float = 0.0

    def encoded(self) -> bytes:
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return (
            f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Status')}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n{extra}\r\n"
        ).encode("latin-1") + self.body


def json_answer(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, _ENCODER.encode(value).encode(), headers)


class _UnreadableError(Exception):
    """The request breaks HTTP or a limit; carries the status to answer."""


class Connection(asyncio.Protocol):
    """One client connection. ``respond`` answers a request, given when it came, at once; what waits or trickles is done
    in a task. ``came`` says when what has just been read came."""

    def __init__(
        self, respond: Callable[[Request, float], Answer], peers: "set[Connection]", came: Callable[[], float]
    ) -> None:
        self._respond = respond
        self._peers = peers
        self._came, self._last_came = came, 0.0
        self._buffer = b""
        self._busy = False  # an answer is on its way; what follows it on this connection waits
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._last_came = self._came()
        if not self._busy:
            self._serve()

    def eof_received(self) -> bool:
        return self._busy  # a client that half-closes still gets the answer that is on its way

    def _serve(self) -> None:
        """Answers every whole request in the buffer, until one takes time."""
        while self._buffer and not self._transport.is_closing():
            try:
                taken = take_request(self._buffer)
            except _UnreadableError as error:
                self._transport.write(json_answer(int(str(error)), {"error": "unreadable request"}).encoded())
                self._transport.close()
                return
            if taken is None:
                return
            request, self._buffer = taken
            answer = self._respond(request, self._last_came)
            last = request.headers.get("connection", "").lower() == "close"
            if answer.manner is not Manner.WHOLE or len(answer.body) > PIECE:
                self._busy = True
                self._task = asyncio.get_running_loop().create_task(self._deliver(answer))
                return
            if answer.delay:
                self._busy = True
                asyncio.get_running_loop().call_later(answer.delay, self._answer_late, answer.encoded(), last)
                return
            self._transport.write(answer.encoded())
            if last:
                self._transport.close()

    def _answer_late(self, encoded: bytes, last: bool) -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        self._transport.write(encoded)
        if last:
            self._transport.close()
        else:
            self._serve()

    async def _deliver(self, answer: Answer) -> None:
        await asyncio.sleep(answer.delay)
        if answer.manner in (Manner.RESET, Manner.HANG):
            self.reset()
            return
        await self._write(answer)
        if answer.manner is Manner.CUT:
            self._transport.close()
        self._task, self._busy = None, False
        self._serve()

    async def _write(self, answer: Answer) -> None:
        for piece in _pieces(answer):
            if self._transport.is_closing():
                return
            await self._may_write.wait()
            self._transport.write(piece)
            await asyncio.sleep(answer.pause)

    def reset(self) -> None:
        """Ends the connection with a TCP reset where the platform can."""
        peer = self._transport.get_extra_info("socket")
        if peer is not None:
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()


def take_request(buffer: bytes) -> tuple[Request, bytes] | None:
    """The first request in ``buffer`` and what follows it; None where it is not whole yet."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > HEAD_LIMIT:
            raise _UnreadableError("431")
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    method, _, rest = first.partition(" ")
    raw_path, _, version = rest.rpartition(" ")
    if not version.startswith("HTTP/1.") or not raw_path.startswith("/"):
        raise _UnreadableError("400")
    if "transfer-encoding" in headers:
        taken = _chunked(buffer, end + 4)
        if taken is None:
            return None
        body, stop = taken
    else:
        stop = end + 4 + _length(headers.get("content-length", "0"))
        if len(buffer) < stop:
            return None
        body = buffer[end + 4 : stop]
    return Request(method, raw_path, headers, body), buffer[stop:]


def _length(value: str) -> int:
    if not value.isdecimal() or len(value) > 15:
        raise _UnreadableError("400")
    if int(value) > BODY_LIMIT:
        raise _UnreadableError("413")
    return int(value)


def _chunked(buffer: bytes, start: int) -> tuple[bytes, int] | None:
    """The joined chunks and where the request ends; None where it is not whole yet."""
    parts: list[bytes] = []
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        try:
            size = int(buffer[start:line_end].partition(b";")[0], 16)
        except ValueError:
            raise _UnreadableError("400") from None
        if size == 0:
            stop = buffer.find(b"\r\n", line_end + 2)
            return (b"".join(parts), stop + 2) if stop >= 0 else None
        start = line_end + 2 + size + 2
        if start > BODY_LIMIT:
            raise _UnreadableError("413")
        parts.append(buffer[line_end + 2 : line_end + 2 + size])
    return None


def _pieces(answer: Answer) -> Iterator[bytes]:
    whole = answer.encoded()
    if answer.manner is Manner.DRIP:
        head = len(whole) - len(answer.body)
        yield whole[:head]
        yield from (whole[at : at + 1] for at in range(head, len(whole)))
        return
    if answer.manner is Manner.CUT:
        whole = whole[: len(whole) - (len(answer.body) + 1) // 2]
    for at in range(0, len(whole), PIECE):
        yield whole[at : at + PIECE]
