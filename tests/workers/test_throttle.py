"""The script in Redis: exact over many askers, equal to its pure twin, and never a burst after a loss."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from campaign.domain.errors import OutOfReach
from campaign.domain.pace import Reservation, Want
from campaign.policies.pacing import HORIZON, aimed, reserve
from workers.throttle import PREFIX, SCRIPT, RedisThrottle, _arguments

TOLD_TIME = "local clock = {'0', ARGV[#ARGV]}"


def asked(url: str, work: Callable[[Redis], Awaitable[object]]) -> object:
    async def run() -> object:
        async with Redis.from_url(url) as client:
            return await work(client)

    return asyncio.run(run())


def most_in_a_second(times: Sequence[float]) -> int:
    ordered = sorted(times)
    return max(bisect_left(ordered, at + 1.0) - i for i, at in enumerate(ordered))


async def take(throttle: RedisThrottle, rate: float, until: float, wants: Sequence[Want]) -> list[float]:
    """Ask as a worker does, again and again, and return every start time given."""
    times: list[float] = []
    while time.monotonic() < until:
        given_: Reservation = await throttle.reserve("line", rate, wants)
        times += [at for _, at in given_.slots]
        await asyncio.sleep(0.01)
    return times


@pytest.mark.alone
@pytest.mark.parametrize("rate", [2.0, 50.0, 500.0, 1000.0])
def test_four_askers_share_one_pace(clean_redis_url: str, rate: float) -> None:
    async def four(_: Redis) -> list[float]:
        # Given four workers with connections of their own
        clients = [Redis.from_url(clean_redis_url) for _ in range(4)]
        throttles = [RedisThrottle(client) for client in clients]
        # When all ask for more than there is
        until = time.monotonic() + 1.5
        wants = [Want("campaign:1", 100)]
        taken = await asyncio.gather(*(take(throttle, rate, until, wants) for throttle in throttles))
        for client in clients:
            await client.aclose()
        return [at for times in taken for at in times]

    times = asked(clean_redis_url, four)
    assert isinstance(times, list)
    # Then no second holds more than the limit, and the pace is used
    assert most_in_a_second(times) <= rate + (1 if rate < 100 else 0)
    assert len(times) / (max(times) - min(times) + 1 / rate) >= 0.96 * rate


def test_a_flush_costs_a_pause_and_no_burst(clean_redis_url: str) -> None:
    async def work(client: Redis) -> tuple[Reservation, Reservation, Reservation]:
        throttle = RedisThrottle(client)
        wants = [Want("campaign:1", 1000)]
        await throttle.reserve("line", 100.0, wants)
        await asyncio.sleep(HORIZON + 0.05)
        # Given start times that were given out up to a horizon ahead
        before = await throttle.reserve("line", 100.0, wants)
        # When Redis forgets everything
        await client.flushall()
        at_once = await throttle.reserve("line", 100.0, wants)
        await asyncio.sleep(0.05)
        return before, at_once, await throttle.reserve("line", 100.0, wants)

    answers = asked(clean_redis_url, work)
    assert isinstance(answers, tuple)
    before, at_once, after = answers
    # Then the first new start time lies after the last old one
    assert len(before.slots) > 10
    assert at_once.slots == ()
    assert after.slots[0][1] > before.slots[-1][1]


def test_no_redis_is_no_call() -> None:
    async def work() -> None:
        async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as client:
            await RedisThrottle(client).reserve("line", 1.0, [Want("campaign:1", 1)])

    with pytest.raises(OutOfReach, match="the broker does not answer"):
        asyncio.run(work())


WANTS = st.lists(st.tuples(st.integers(0, 30), st.none() | st.floats(0.5, 200.0)), min_size=1, max_size=4)
STEPS = st.lists(st.tuples(st.integers(0, 2000), WANTS, st.floats(1.0, 500.0)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(steps=STEPS)
def test_the_script_and_its_pure_twin_agree(
    redis_url: str, steps: list[tuple[int, list[tuple[int, float | None]], float]]
) -> None:
    told = SCRIPT.replace("local clock = redis.call('TIME')", TOLD_TIME)
    assert told != SCRIPT

    async def work(client: Redis) -> None:
        await client.flushall()
        run = client.register_script(told)
        buckets: dict[str, float] = {}
        now = 1_000.0
        for passed, shape, rate in steps:
            now += passed / 1000
            wants = [Want(f"campaign:{i}", count, limit) for i, (count, limit) in enumerate(shape)]
            # When both are asked the same at the same time
            keys = [PREFIX + "line", *(f"{PREFIX}line:{want.key}" for want in wants)]
            answer = (await run(keys=keys, args=[*_arguments(rate, wants), round(now * 1e6)])).split()
            exact = [Want(w.key, w.count, aimed(w.limit) if w.limit else None) for w in wants]
            grant = reserve(buckets, "line", aimed(rate), exact, now)
            buckets = grant.buckets
            # Then they give the same groups the same times, to the microseconds that rounding costs
            if any(1e-9 < abs(free - now - HORIZON) < 1e-4 for free in buckets.values()):
                return  # on the very edge of the horizon rounding may decide either way
            assert [float(x) / 1e6 for x in answer[3::2]] == pytest.approx([at for _, at in grant.times], abs=1e-4)

    asked(redis_url, work)
