"""Who dials a line: as few processes as were asked for, and never nobody for long."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.servers import free_port
from workers import carrying
from workers.carrying import Carriers


def asked(url: str, work: Callable[[Redis], Awaitable[object]]) -> object:
    async def run() -> object:
        async with Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
            return await work(client)

    return asyncio.run(run())


def test_as_many_join_as_are_needed_and_who_is_there_may_stay(redis_url: str) -> None:
    async def work(redis: Redis) -> list[bool]:
        first, second, third = (Carriers(redis, name) for name in ("a:1", "a:2", "b:1"))
        joined = [await each.join("line 0", 1) for each in (first, second, first)]
        joined += [await each.join("line 0", 2) for each in (second, third)]
        return [*joined, await third.join("other 0", 1)]

    assert asked(redis_url, work) == [True, False, True, True, False, True]


def test_who_is_no_longer_needed_goes(redis_url: str) -> None:
    # Given three processes on a line, all of them needed, When an order says that one is, Then whoever says next that
    # it is there goes, until one is left
    async def work(redis: Redis) -> list[bool]:
        three = [Carriers(redis, f"c:{n}") for n in range(3)]
        joined = [await each.join("shrinking", 3) for each in three]
        joined += [await each.join("shrinking") for each in three]
        joined.append(await Carriers(redis, "c:9").join("shrinking", 1))
        return joined + [await each.join("shrinking") for each in three]

    assert asked(redis_url, work) == [True] * 6 + [False] + [False, False, True]


def test_who_leaves_makes_room_at_once(redis_url: str) -> None:
    async def work(redis: Redis) -> list[bool]:
        first, second = Carriers(redis, "a:1"), Carriers(redis, "a:2")
        joined = [await first.join("line 1", 1)]
        await first.leave("line 1")
        return [*joined, await second.join("line 1", 1), await first.join("line 1", 1)]

    assert asked(redis_url, work) == [True, True, False]


def test_who_falls_silent_makes_room_soon(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that carries a line and is killed, When its word has run out, Then another takes its place
    monkeypatch.setattr(carrying, "KEPT_FOR", 0.05)

    async def work(redis: Redis) -> list[bool]:
        joined = [await Carriers(redis, "a:1").join("line 2", 1), await Carriers(redis, "a:2").join("line 2", 1)]
        await asyncio.sleep(0.1)  # Redis's own clock
        return [*joined, await Carriers(redis, "a:2").join("line 2", 1)]

    assert asked(redis_url, work) == [True, False, True]


def test_where_nobody_can_say_all_may_dial() -> None:
    # Given a Redis that does not answer, Then the pace, which is asked for before each call, is what holds calls back
    async def work(redis: Redis) -> list[bool]:
        carriers = Carriers(redis, "a:1")
        joined = await carriers.join("line 3", 1)
        await carriers.leave("line 3")
        return [joined]

    assert asked(f"redis://127.0.0.1:{free_port()}/0", work) == [True]
