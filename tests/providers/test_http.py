"""What leaves on a line, and what may be concluded when no whole answer comes back: on real sockets."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Iterator

import pytest

from campaign.providers.port import Fault, Reply, Request, on_departure
from tests.providers.wire import (
    GET,
    OK,
    PHONE,
    POST,
    Server,
    Visit,
    answers_ok,
    exchange,
    giant,
    hangs,
    sending,
    serving,
)

# --- what leaves ---


def test_json_goes_out_as_given_and_the_answer_comes_back_whole() -> None:
    async def created(visit: Visit) -> None:
        await visit.read()
        await visit.say(b"HTTP/1.1 201 Created\r\nX-Rate-LIMIT: 7\r\nContent-Length: 4\r\n\r\nbody")

    reply, server = exchange(created)
    assert reply == Reply(201, {"x-rate-limit": "7", "content-length": "4"}, b"body")
    assert server.bodies == [b'{"to":"+14155550123"}']
    head = server.heads[0].lower()
    assert head.startswith(b"post /calls http/1.1\r\n")
    for line in (
        b"x-api-key: sk_canary",
        b"content-type: application/json",
        b"accept: application/json",
        b"host: 127.",
    ):
        assert b"\r\n" + line in head


def test_a_plus_survives_in_query_and_form() -> None:
    # Given a server that decodes a query and a form as servers do, When a number with `+` is sent, Then it is whole:
    # a `+` that arrives as a space finds nobody, and an empty list looks like a proof of absence
    _, server = exchange(answers_ok, GET)
    assert server.heads[0].startswith(b"GET /calls?mobile=%2B14155550123 HTTP/1.1\r\n")
    form = Request("POST", "/send", form=[("to", PHONE), ("name", "a b&c=d"), ("name", "ü")])
    _, server = exchange(answers_ok, form)
    assert server.bodies == [b"to=%2B14155550123&name=a%20b%26c%3Dd&name=%C3%BC"]
    assert b"content-type: application/x-www-form-urlencoded\r\n" in server.heads[0].lower()


def test_an_escaped_part_of_a_path_stays_escaped() -> None:
    _, server = exchange(answers_ok, Request("GET", "/calls/a%2Fb%3Fc/~"))
    assert server.heads[0].startswith(b"GET /calls/a%2Fb%3Fc/~ HTTP/1.1\r\n")


def test_a_request_without_a_body_says_so() -> None:
    _, server = exchange(answers_ok, Request("POST", "/hangup"))
    assert server.bodies == [b""]
    assert b"content-length: 0\r\n" in server.heads[0].lower()


def test_it_is_told_when_a_request_leaves_which_one_that_waits_for_a_connection_does_not_yet() -> None:
    happened: list[str] = []

    async def one(name: str, send: Callable[[Request], Awaitable[Reply | Fault]]) -> None:
        on_departure.set(lambda: happened.append(f"{name} left"))
        assert isinstance(await send(POST), Reply)

    async def run() -> None:
        async def read_and_answer(visit: Visit) -> None:
            while await visit.read():
                happened.append("read")
                await visit.say(OK)

        # Given a line with one connection, When two calls are sent at once
        async with serving(read_and_answer) as server, sending(server.url, connections=1) as sender:
            await asyncio.gather(one("first", sender.send), one("second", sender.send))

    asyncio.run(run())
    # Then the second is told to leave after the first was read, and each of them once
    assert happened.count("read") == 2
    assert [each for each in happened if each != "read"] == ["first left", "second left"]
    assert happened.index("second left") > happened.index("read")


# --- one exchange is one request ---


@pytest.mark.parametrize("request_", [POST, GET, Request("DELETE", "/calls/1")], ids=["POST", "GET", "DELETE"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_kept_connection_that_breaks_is_not_tried_again(request_: Request, end: str) -> None:
    # Given a connection kept alive after a first answer, When the server cuts it after reading the second request,
    # Then that request has reached it once, and nothing else has
    async def second_breaks(visit: Visit) -> None:
        await visit.read()
        await visit.say(OK)
        if await visit.read() and end == "reset":
            visit.reset()

    async def run() -> tuple[list[Reply | Fault], Server]:
        async with serving(second_breaks) as server, sending(server.url) as sender:
            return [await sender.send(request_), await sender.send(request_)], server

    (first, second), server = asyncio.run(run())
    assert isinstance(first, Reply)
    assert isinstance(second, Fault)
    assert second.sent
    assert (server.requests, server.connections) == (2, 1)


def test_a_connection_that_closed_while_idle_is_replaced() -> None:
    # Given a server that closes after each answer without saying so, When time has passed, Then a new one is used
    async def closes(visit: Visit) -> None:
        await visit.read()
        await visit.say(OK)

    async def run() -> tuple[list[Reply | Fault], Server]:
        async with serving(closes) as server, sending(server.url) as sender:
            replies = []
            for _ in range(5):
                replies.append(await sender.send(POST))
                await asyncio.sleep(0.02)  # the FIN must arrive: this is about the kernel, not a clock
            return replies, server

    replies, server = asyncio.run(run())
    assert all(isinstance(reply, Reply) for reply in replies)
    assert (server.requests, server.connections) == (5, 5)


def test_a_kept_connection_is_used_again() -> None:
    async def run() -> Server:
        async with serving(answers_ok) as server, sending(server.url) as sender:
            for _ in range(10):
                await sender.send(POST)
            return server

    server = asyncio.run(run())
    assert (server.requests, server.connections) == (10, 1)


def test_after_a_whole_fault_the_connection_is_not_used_again() -> None:
    async def run() -> tuple[Reply | Fault, Server]:
        replies: Iterator[Callable[[Visit], Awaitable[None]]] = iter((giant, answers_ok))

        async def behaviour(visit: Visit) -> None:
            await next(replies)(visit)

        async with serving(behaviour) as server, sending(server.url) as sender:
            await sender.send(POST)
            return await sender.send(POST), server

    reply, server = asyncio.run(run())
    assert reply == Reply(200, {"content-type": "application/json", "content-length": "2"}, b"{}")
    assert server.connections == 2


def test_many_at_once_go_out_at_once() -> None:
    # Given 300 requests, none of which is answered before all have arrived, When they are sent, Then all come back
    async def run() -> list[Reply | Fault]:
        all_here = asyncio.Event()

        async def waits(visit: Visit) -> None:
            await visit.read()
            if visit.server.requests == 300:
                all_here.set()
            await all_here.wait()
            await visit.say(OK)

        async with serving(waits) as server, sending(server.url, timeout=20) as sender:
            return list(await asyncio.gather(*(sender.send(POST) for _ in range(300))))

    assert {type(reply) for reply in asyncio.run(run())} == {Reply}


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def run() -> tuple[Reply | Fault, int]:
        async with serving(answers_ok) as second:

            async def elsewhere(visit: Visit) -> None:
                await visit.read()
                await visit.say(
                    f"HTTP/1.1 307 Moved\r\nLocation: {second.url}/calls\r\nContent-Length: 0\r\n\r\n".encode()
                )

            async with serving(elsewhere) as first, sending(first.url) as sender:
                return await sender.send(POST), second.requests

    reply, seen_by_second = asyncio.run(run())
    assert isinstance(reply, Reply)
    assert (reply.status, seen_by_second) == (307, 0)


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[Reply | Fault, int]:
        async with serving(answers_ok) as proxy, serving(answers_ok) as server:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            async with sending(server.url) as sender:
                return await sender.send(POST), proxy.requests

    reply, seen_by_proxy = asyncio.run(run())
    assert isinstance(reply, Reply)
    assert seen_by_proxy == 0


def test_cookies_are_not_kept_and_nothing_is_unpacked() -> None:
    async def sets_a_cookie(visit: Visit) -> None:
        while await visit.read():
            body = gzip.compress(b"{}")
            await visit.say(
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
                % len(body)
                + body
            )

    async def run() -> tuple[Reply | Fault, Server]:
        # by name, because cookies of bare addresses are never kept
        async with serving(sets_a_cookie) as server, sending(server.url.replace("127.0.0.1", "localhost")) as sender:
            await sender.send(POST)
            return await sender.send(POST), server

    reply, server = asyncio.run(run())
    assert isinstance(reply, Reply)
    assert reply.body == gzip.compress(b"{}")
    assert b"cookie" not in server.heads[1].lower()
    assert b"accept-encoding: identity\r\n" in server.heads[1].lower()


def test_cancelling_goes_through() -> None:
    async def run() -> bool:
        async with serving(hangs) as server, sending(server.url) as sender:
            task = asyncio.create_task(sender.send(POST))
            while not server.requests:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return True

    assert asyncio.run(run())
