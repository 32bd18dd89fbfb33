"""The script in Redis: exact over many askers, equal to its pure twin, and never a burst after a loss."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from campaign.domain.errors import OutOfReach
from campaign.domain.pace import Correction, Reservation, StartTime, Want
from campaign.policies.pacing import HORIZON, SECOND, spacing
from campaign.policies.reserving import Books, reserve
from tests.sliding import most_in_a_second
from workers.throttle import SCRIPT, RedisThrottle, _asking

TOLD_TIME = "local clock = {'0', KEYS[#KEYS]}"


def asked(url: str, work: Callable[[Redis], Awaitable[object]]) -> object:
    async def run() -> object:
        async with Redis.from_url(url) as client:
            return await work(client)

    return asyncio.run(run())


class Asker:
    """Asks as a worker does, again and again, and tells that each call left at its start time."""

    def __init__(self, client: Redis, rate: float) -> None:
        self.throttle = RedisThrottle(client)
        self.rate = rate
        self.untold: list[StartTime] = []
        self.times: list[float] = []

    async def ask(self, *wants: Want) -> Sequence[StartTime]:
        return await self._reserve(wants, self._left())

    async def tell(self) -> None:
        if told := self._left():
            await self._reserve((), told)

    async def take(self, *wants: Want) -> Sequence[StartTime]:
        """Without telling anything."""
        return await self._reserve(wants, ())

    def _left(self) -> list[Correction]:
        now = time.monotonic()
        told = [Correction(start.mark, 0, start.own) for start in self.untold if start.at <= now]
        self.untold = [start for start in self.untold if start.at > now]
        return told

    async def _reserve(self, wants: Sequence[Want], told: Sequence[Correction]) -> Sequence[StartTime]:
        starts = (await self.throttle.reserve("line", self.rate, wants, told)).starts
        self.untold += starts
        self.times += [start.at for start in starts]
        return starts

    async def until(self, end: float, *wants: Want, every: float = 0.01) -> None:
        while time.monotonic() < end:
            await self.ask(*wants)
            await asyncio.sleep(every)


@pytest.mark.alone
@pytest.mark.parametrize("rate", [2.0, 50.0, 500.0, 1000.0])
def test_four_askers_share_one_pace(clean_redis_url: str, rate: float) -> None:
    async def four(_: Redis) -> list[float]:
        # Given four workers with connections of their own
        clients = [Redis.from_url(clean_redis_url) for _ in range(4)]
        askers = [Asker(client, rate) for client in clients]
        # When all ask for more than there is
        end = time.monotonic() + 1.5
        await asyncio.gather(*(asker.until(end, Want("campaign:1", 100)) for asker in askers))
        for client in clients:
            await client.aclose()
        return [at for asker in askers for at in asker.times]

    def share_used() -> float:
        times = asked(clean_redis_url, four)
        assert isinstance(times, list)
        # Then no second holds more than the limit, however often it is tried
        assert most_in_a_second(times) <= rate + (1 if rate < 100 else 0)
        return float(len(times) / (max(times) - min(times) + 1 / rate) / rate)

    # And the pace is used, unless the machine stood still three times in a row
    assert any(share_used() >= 0.96 for _ in range(3))


def test_a_flush_costs_a_pause_and_no_burst(clean_redis_url: str) -> None:
    async def work(client: Redis) -> tuple[Reservation, Reservation, Reservation]:
        throttle = RedisThrottle(client)
        wants = [Want("campaign:1", 1000)]
        await throttle.reserve("line", 100.0, wants)
        await asyncio.sleep(spacing(100.0).opening / SECOND)
        # Given start times that were given out up to a horizon ahead
        before = await throttle.reserve("line", 100.0, wants)
        # When Redis forgets everything
        await client.flushall()
        at_once = await throttle.reserve("line", 100.0, wants)
        await asyncio.sleep(spacing(100.0).opening / SECOND - HORIZON + 0.05)
        return before, at_once, await throttle.reserve("line", 100.0, wants)

    answers = asked(clean_redis_url, work)
    assert isinstance(answers, tuple)
    before, at_once, after = answers
    # Then the first new start time lies a second after the last old one
    assert len(before.starts) > 10
    assert at_once.starts == ()
    assert after.starts[0].at > before.starts[-1].at + 1.0


def test_no_redis_is_no_call() -> None:
    async def work() -> None:
        async with Redis(port=1, retry=Retry(NoBackoff(), 0)) as client:
            await RedisThrottle(client).reserve("line", 1.0, [Want("campaign:1", 1)])

    with pytest.raises(OutOfReach, match="the broker does not answer"):
        asyncio.run(work())


def test_unused_start_times_are_made_up_for(clean_redis_url: str) -> None:
    async def work(client: Redis) -> Sequence[StartTime]:
        asker = Asker(client, 500.0)
        await asker.until(time.monotonic() + 3.0, Want("campaign:1", 1000), every=0.05)
        # Given a full line of which a worker cannot use the next tenth of a second, When it says so
        unused, asker.untold = asker.untold[:50], asker.untold[50:]
        await asker.throttle.reserve("line", 500.0, [], [Correction(start.mark, None, start.own) for start in unused])
        await asyncio.sleep(0.2)
        return await asker.ask(Want("campaign:1", 1000))

    starts = asked(clean_redis_url, work)
    assert isinstance(starts, tuple)
    # Then the next start times come closer than the limit
    assert len(starts) >= 10
    assert (starts[-1].at - starts[0].at) / (len(starts) - 1) < 1 / 505


def test_a_look_says_what_taking_would_give_whatever_limit_the_looker_believes_in(clean_redis_url: str) -> None:
    async def work(client: Redis) -> list[tuple[int, int, float]]:
        taker, looker = Asker(client, 500.0), RedisThrottle(client)
        seen = []
        for _ in range(12):
            await taker.tell()
            before = time.monotonic()
            room = await looker.room("line", 1.0)
            starts = await taker.take(Want("campaign:1", 1000))
            seen.append((room.calls, len(starts), time.monotonic() - before))
            await asyncio.sleep(0.2)
        return seen

    seen = asked(clean_redis_url, work)
    assert isinstance(seen, list)
    # Then a new line has one, which opens its books, and once they are open a look is right but for the time between
    assert seen[0][:2] == (1, 0)
    assert seen[-1][0] > 50
    assert all(0 <= taken - looked <= 1 + 500.0 * between for looked, taken, between in seen if looked > 1)


@st.composite
def asking(draw: st.DrawFn) -> tuple[int, float, list[Want], float]:
    """Microseconds since the last asking, the line's limit, the wants, and the share of the last answer given back."""
    wants = [
        Want(f"campaign:{i}", draw(st.integers(0, 150)), draw(st.none() | st.floats(0.5, 200.0)))
        for i in range(draw(st.integers(1, 3)))
    ]
    limit = draw(st.sampled_from([1.0, 40.0, 100.0, 102.6, 500.0]) | st.floats(1.0, 1500.0))
    return draw(st.integers(0, 700_000)), limit, wants, draw(st.sampled_from([0.0, 0.0, 0.2, 1.0]))


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(asking(), min_size=1, max_size=12), one_limit=st.booleans(), seed=st.integers(0, 99))
def test_the_script_and_its_pure_twin_agree(
    redis_url: str, steps: list[tuple[int, float, list[Want], float]], one_limit: bool, seed: int
) -> None:
    told = SCRIPT.replace("local clock = redis.call('TIME')", TOLD_TIME)
    assert told != SCRIPT

    async def work(client: Redis) -> None:
        await client.flushall()
        run = client.register_script(told)
        books, now, random = Books(), 1_795_000_060 * SECOND, Random(seed)
        last: list[tuple[int, str | None]] = []
        for passed, drawn, wants, share in steps:
            now += passed
            limit = steps[0][1] if one_limit else drawn
            told_of = [
                Correction(at, random.choice((None, 0, 7, max(0, now - at))), own)
                for at, own in last
                if random.random() < share
            ]
            # When both are asked the same at the same time, by somebody who looks first
            keys, arguments = _asking("look", "line", limit, wants)
            await run(keys=[*keys, str(now)], args=arguments)
            keys, arguments = _asking("take", "line", limit, wants, told_of)
            answer = [int(word) for word in (await run(keys=[*keys, str(now)], args=arguments)).split()]
            grant = reserve(books, "line", limit, wants, now, told_of)
            books = grant.books
            # Then they give the same groups the same times, and name the same time to ask again
            given_ = list(zip(answer[3::2], answer[4::2], strict=True))
            assert given_ == list(grant.times)
            last = [(at, wants[index].own) for index, at in given_]
            assert answer[1] == (-1 if grant.retry_at is None else grant.retry_at - now)

    asked(redis_url, work)
