"""When a request came, by the kernel where it says so (Linux), not when it was read.

Whoever judges a pace by the call must not be late itself: a simulator that stands still for 20 ms, since it works or
since its processor was taken from it, reads all at once what came one by one.
"""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Sequence

_TIMESTAMPS = 35 if sys.platform == "linux" else None
"""SO_TIMESTAMPNS, which is the name of the message, too; Python has no word for it."""

_STAMP = struct.Struct("ll")  # seconds and nanoseconds of the wall clock
_ROOM = socket.CMSG_SPACE(_STAMP.size) if _TIMESTAMPS else 0

_Notes = Sequence[tuple[int, int, bytes]]


class Listener(socket.socket):
    """Its connections note in ``came`` when what was read last from any of them had come, on the monotonic clock.

    For one event loop, which hands on what it has read before it reads again.
    """

    came = 0.0

    def accept(self) -> "tuple[_Stamped, object]":
        taken, address = super().accept()
        return _Stamped(self, taken), address


class _Stamped(socket.socket):
    def __init__(self, listener: Listener, taken: socket.socket) -> None:
        super().__init__(taken.family, taken.type, taken.proto, fileno=taken.detach())
        self._listener = listener

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data, notes, _, _ = self.recvmsg(size, _ROOM, flags)
        self._listener.came = time.monotonic() - _age(notes)
        return data


async def listen(host: str, port: int) -> Listener:
    """A bound socket for the first address of ``host``. Raises OSError."""
    family, kind, protocol, _, address = (
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    )[0]
    listener = Listener(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _TIMESTAMPS is not None:
            listener.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)  # what it accepts inherits it
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _age(notes: _Notes) -> float:
    """Seconds since then; 0.0 where the kernel says nothing, or the wall clock was set back meanwhile."""
    for _, kind, data in notes:
        if kind == _TIMESTAMPS and len(data) == _STAMP.size:
            seconds, nanoseconds = _STAMP.unpack(data)
            age: float = time.time() - seconds - nanoseconds / 1e9
            return max(0.0, age)
    return 0.0
