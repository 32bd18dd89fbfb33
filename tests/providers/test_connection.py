"""What answers may look like, and on which connection the next request leaves: on real sockets."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import httpx
import pytest

from campaign.providers import transport
from campaign.providers.port import Fault, Reply
from campaign.providers.transport import DirectTransport
from tests.providers.wire import OK, POST, Server, Visit, answers_ok, sending, serving

Behaviour = Callable[[Visit], Awaitable[None]]


def answering(*answers: bytes, then_close: bool = False) -> Behaviour:
    """One answer per request, on each connection from the first on."""

    async def behaviour(visit: Visit) -> None:
        for answer in answers:
            if not await visit.read():
                return
            await visit.say(answer)
        if not then_close:
            await visit.read()

    return behaviour


def sent(behaviour: Behaviour, *, once_over: bool = False) -> tuple[list[Reply | Fault], Server]:
    """Two requests, one after the other; with ``once_over``, the second when the first's connection has ended."""

    async def run() -> tuple[list[Reply | Fault], Server]:
        async with serving(behaviour) as server, sending(server.url, timeout=3.0) as sender:
            first = await sender.send(POST)
            async with asyncio.timeout(10.0):
                while once_over and not server.over:
                    await asyncio.sleep(0.001)  # this is about the kernel, no clock
            return [first, await sender.send(POST)], server

    return asyncio.run(run())


def bodies(replies: list[Reply | Fault]) -> list[bytes | None]:
    return [reply.body if isinstance(reply, Reply) else None for reply in replies]


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "answer",
    [
        HELLO,
        b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Trailer: z\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["plain", "continue", "early hints", "chunked", "bare line feeds", "no phrase"],
)
def test_after_a_whole_answer_the_connection_is_used_again(answer: bytes) -> None:
    replies, server = sent(answering(answer, answer))
    assert bodies(replies) == [b"hello", b"hello"]
    assert server.connections == 1


def test_an_answer_without_a_body_ends_with_its_head() -> None:
    replies, server = sent(answering(b"HTTP/1.1 204 No Content\r\n\r\n", HELLO))
    assert bodies(replies) == [b"", b"hello"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["until the end", "until the end, 1.0", "hints first", "closes", "1.0"],
)
def test_an_answer_that_ends_its_connection_is_whole_and_the_next_request_takes_another(answer: bytes) -> None:
    replies, server = sent(answering(answer, then_close=True))
    assert bodies(replies) == [b"hello", b"hello"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nwhatever",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/2.0 what\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ],
    ids=["another protocol", "two lengths", "length and chunks", "negative", "no status", "no HTTP"],
)
def test_an_answer_that_may_mean_two_things_is_none(answer: bytes) -> None:
    (fault, _), server = sent(answering(answer))
    assert isinstance(fault, Fault)
    assert fault.sent
    assert server.connections == 2


@pytest.mark.parametrize("more", [HELLO.replace(b"hello", b"other"), b"HTTP/1.1 200 OK\r\nContent-Le", b"\x00rubbish"])
def test_what_nobody_asked_for_is_never_the_answer_to_the_next_request(more: bytes) -> None:
    # Given a server that says more than was asked, at once or while the connection is idle, When the next request
    # leaves, Then it leaves on another connection
    async def later(visit: Visit) -> None:
        await visit.read()
        await visit.say(HELLO)
        await asyncio.sleep(0.005)
        await visit.say(more)
        await visit.read()

    for behaviour in (answering(HELLO + more), later):
        replies, server = sent(behaviour, once_over=True)
        assert bodies(replies) == [b"hello", b"hello"]
        assert server.connections == 2


def test_a_connection_that_has_been_idle_for_too_long_is_closed_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "KEPT_FOR", 0.05)
    closed = asyncio.Event()

    async def until_closed(visit: Visit) -> None:
        while await visit.read():
            await visit.say(OK)
        closed.set()

    async def run() -> int:
        async with serving(until_closed) as server, sending(server.url) as sender:
            await sender.send(POST)
            await asyncio.wait_for(closed.wait(), 5.0)
            await sender.send(POST)
            return server.connections

    assert asyncio.run(run()) == 2


def test_one_pool_does_not_mix_up_two_hosts() -> None:
    async def run() -> tuple[list[int], int, int]:
        async with serving(answers_ok) as first, serving(answers_ok) as second:
            pool = DirectTransport(ssl.create_default_context(), connections=10)
            async with httpx.AsyncClient(transport=pool, trust_env=False) as client:
                for server in (first, second, first, second):
                    await client.get(server.url)
            return [first.requests, second.requests], first.connections, second.connections

    assert asyncio.run(run()) == ([2, 2], 1, 1)


def test_a_fault_gives_its_slot_back() -> None:
    # Given a line with one connection, When requests fail in every way, Then one that is answered still gets through
    async def run() -> list[type]:
        turns = iter([b"", b"\x16\x03 what", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None, OK])

        async def behaviour(visit: Visit) -> None:
            await visit.read()
            said = next(turns)
            if said is None:
                await asyncio.sleep(60)
            await visit.say(said or b"")

        async with serving(behaviour) as server, sending(server.url, timeout=0.5, connections=1) as sender:
            return [type(await sender.send(POST)) for _ in range(5)]

    assert asyncio.run(run()) == [Fault, Fault, Fault, Fault, Reply]


def test_closing_ends_what_is_under_way() -> None:
    async def run() -> Reply | Fault:
        async def hangs(visit: Visit) -> None:
            await visit.read()
            await asyncio.sleep(60)

        async with serving(hangs) as server, sending(server.url) as sender:
            waiting = asyncio.create_task(sender.send(POST))
            while not server.requests:
                await asyncio.sleep(0.01)
            await sender.aclose()
            return await waiting

    fault = asyncio.run(run())
    assert isinstance(fault, Fault)
    assert fault.sent
