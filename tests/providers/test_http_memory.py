"""Answers without end cost neither memory nor more than the line's deadline, however many come at once."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from campaign.providers.port import Fault, Reply
from campaign.providers.transport import BODY_LIMIT
from tests.providers.wire import POST, Visit, sending, serving

AT_ONCE = 30
DEADLINE = 1.5
ALLOWED = AT_ONCE * BODY_LIMIT * 3
"""Bytes: each exchange may hold its limit, once as it came and once put together, and the sockets have buffers."""

WOULD_BE = AT_ONCE * 40 * BODY_LIMIT
"""Bytes that the servers are ready to send."""


async def endless_body(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(40 * 16):
        await visit.say(b" " * (BODY_LIMIT // 16))


async def endless_header_lines(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\n")
    for number in range(40 * 1024):
        await visit.say(b"X-%d: %s\r\n" % (number, b"y" * 1000))


async def one_endless_header(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(40 * 16):
        await visit.say(b"y" * (BODY_LIMIT // 16))


async def endless_trailers(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    for number in range(40 * 1024):
        await visit.say(b"X-%d: %s\r\n" % (number, b"y" * 1000))


async def one_byte_now_and_then(visit: Visit) -> None:
    await visit.read()
    await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(200):
        await visit.say(b"{")
        await asyncio.sleep(0.05)


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "behaviour", [endless_body, endless_header_lines, one_endless_header, endless_trailers, one_byte_now_and_then]
)
def test_an_answer_without_end_is_a_fault_within_the_deadline_and_takes_no_memory(
    behaviour: Callable[[Visit], Awaitable[None]],
) -> None:
    assert ALLOWED * 10 < WOULD_BE

    async def run() -> tuple[list[Reply | Fault], float, int]:
        async with serving(behaviour) as server, sending(server.url, timeout=DEADLINE) as sender:
            before = most = resident()
            started = asyncio.get_running_loop().time()
            sends = [asyncio.create_task(sender.send(POST)) for _ in range(AT_ONCE)]
            while not all(send.done() for send in sends):
                await asyncio.sleep(0.01)
                most = max(most, resident())
            took = asyncio.get_running_loop().time() - started
            return [send.result() for send in sends], took, most - before

    found, took, grown = asyncio.run(run())
    assert all(isinstance(each, Fault) and each.sent for each in found)
    assert took < DEADLINE + 3.0  # of a busy machine
    assert grown < ALLOWED, f"{grown / 2**20:.0f} MiB"
