"""Start times: never nearer than the pace allows, none wasted, those given back made up for, and a flush costs one call
at most."""

from bisect import bisect_left
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from math import ceil, floor
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.domain.pace import Correction, Want
from campaign.policies.pacing import SECOND, aimed, lateness_allowed, spacing, too_late
from campaign.policies.reserving import AHEAD, Books, Grant, reserve
from tests.sliding import most_in_a_second

START = 1000 * SECOND
slow = st.sampled_from([0.2, 1.0, 2.0, 7.3, 50.0, 99.0])
quick = st.sampled_from([100.0, 102.6, 250.0, 500.0])
counts = st.integers(0, 40)
own = st.none() | st.sampled_from([0.5, 1.0, 4.0, 30.0])
keys = ("a", "b", "c")


@st.composite
def askings(draw: st.DrawFn) -> list[tuple[int, list[Want]]]:
    """Several workers over a few seconds: (microseconds since the last asking, what for). A key keeps its limit."""
    limit = {key: draw(own) for key in keys}
    one = st.builds(lambda key, count: Want(key, count, limit[key]), st.sampled_from(keys), counts)
    wants = st.lists(one, unique_by=lambda want: want.key, min_size=1, max_size=3)
    return draw(st.lists(st.tuples(st.integers(0, 700_000), wants), min_size=1, max_size=15))


def oracle(books: Books, limit: float, wants: list[Want], now: int) -> list[tuple[int, int]]:
    """The same answer by trying every group for every slot: the earliest goes, then who has waited longest."""
    end, apart = now + AHEAD, spacing(limit)
    steps = [spacing(want.limit).step if want.limit else 0 for want in wants]
    line = max(now, books.free["line"])
    ready = {i: max(now, books.free[want.key]) if want.limit else now for i, want in enumerate(wants)}
    left = {i: want.count for i, want in enumerate(wants)}
    found: list[tuple[int, int]] = []
    noted = [at for at in books.given if at > now - SECOND]
    since = books.since if noted else None
    while any(left.values()):
        while sum(1 for at in noted if at > line - SECOND) >= apart.most:
            line = min(at for at in noted if at > line - SECOND) + SECOND
        slot, _, i = min((max(line, ready[i]), ready[i], i) for i in left if left[i] > 0)
        if slot >= end:
            break
        found.append((i, slot))
        noted.append(slot)
        since = slot if since is None else since
        left[i] -= 1
        line = slot + (apart.quick if slot - since >= SECOND else apart.step)
        ready[i] = slot + steps[i]
    return found


def ask(story: list[tuple[int, list[Want]]], limit: float) -> list[tuple[int, list[Want], Grant, Books]]:
    now, books = START, Books({"line": START, **dict.fromkeys(keys, START)})
    asked = []
    for since, wants in story:
        now += since
        grant = reserve(books, "line", limit, wants, now)
        asked.append((now, wants, grant, books))
        books = grant.books
    return asked


@settings(max_examples=300)
@given(story=askings(), limit=slow | quick)
def test_it_is_what_trying_every_group_for_every_slot_gives(story: list[tuple[int, list[Want]]], limit: float) -> None:
    for now, wants, grant, before in ask(story, limit):
        assert list(grant.times) == oracle(before, limit, wants, now)


@settings(max_examples=200)
@given(story=askings(), limit=slow | quick)
def test_no_sliding_second_holds_more_than_the_pace_of_the_line_nor_of_a_group(
    story: list[tuple[int, list[Want]]], limit: float
) -> None:
    line: list[int] = []
    groups: dict[str, tuple[float | None, list[int]]] = {}
    for now, wants, grant, _ in ask(story, limit):
        for index, at in grant.times:
            assert now <= at < now + AHEAD
            line.append(at)
            groups.setdefault(wants[index].key, (wants[index].limit, []))[1].append(at)
    assert all(later - sooner >= spacing(limit).quick for sooner, later in pairwise(line))
    assert most_in_a_second(line, SECOND) <= ceil(aimed(limit))
    for limited, times in groups.values():
        if limited is not None:
            assert all(later - sooner >= spacing(limited).step for sooner, later in pairwise(times))


@settings(max_examples=200)
@given(story=askings(), limit=slow | quick)
def test_none_is_withheld_and_the_next_time_to_ask_is_said(story: list[tuple[int, list[Want]]], limit: float) -> None:
    for now, wants, grant, _ in ask(story, limit):
        given_ = [sum(1 for i, _ in grant.times if i == n) for n in range(len(wants))]
        short = [w.count - g for w, g in zip(wants, given_, strict=True)]
        assert min(short) >= 0
        assert (grant.retry_at is None) == (not any(short))
        if grant.retry_at is not None:
            assert grant.retry_at >= now
            rest = [Want(w.key, s, w.limit) for w, s in zip(wants, short, strict=True)]
            again = reserve(grant.books, "line", limit, rest, grant.retry_at + 1)
            assert again.times, "asked again at that time, it gives"


@given(limit=st.sampled_from([2.0, 50.0, 500.0]), count=st.integers(1, 400))
def test_groups_without_limits_share_the_line_evenly(limit: float, count: int) -> None:
    grant = reserve(Books({"line": 0}), "line", limit, [Want("a", count), Want("b", count)], 0)
    given_ = [sum(1 for i, _ in grant.times if i == n) for n in (0, 1)]
    assert abs(given_[0] - given_[1]) <= 2


@dataclass
class Worker:
    """Sleeps, sends what has come up meanwhile, and asks for more, telling what it missed or sent far too late."""

    random: Random
    limit: float
    tells: bool = True
    starts: list[int] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def wake(self, now: int) -> bool:
        """Whether start times were missed."""
        allowed, noticed = (round(late(self.limit) * SECOND) for late in (lateness_allowed, too_late))
        due = [at for at in self.starts if at <= now]
        self.starts = [at for at in self.starts if at > now]
        missed = [at for at in due if now > at + allowed]
        self.corrections += [Correction(at) for at in missed]
        for at in due:
            if now <= at + allowed:
                self.left.append(self.random.choice((now, self.random.randint(now, at + noticed), at + noticed)))
        return bool(missed) and self.tells

    def ask(self, books: Books, now: int) -> Books:
        grant = reserve(books, "line", self.limit, [Want("a", 200)], now, self.corrections if self.tells else ())
        self.starts += [at for _, at in grant.times]
        self.corrections = []
        return grant.books


def dialled(limit: float, seconds: float, *, seed: int, workers: int, stalls: float, tell: bool = True) -> list[int]:
    """When the calls of a line left that has work for ever. ``stalls`` is the share of a worker's sleeps that last from
    10 to 60 milliseconds and not about one."""
    random = Random(seed)
    books, now, crew = Books({"line": START}), START, [Worker(random, limit, tell) for _ in range(workers)]
    wakes = [(START, n, START) for n in range(workers)]
    while now < START + seconds * SECOND:
        now, n, ask_at = heappop(wakes)
        if crew[n].wake(now) or now >= ask_at:
            books, ask_at = crew[n].ask(books, now), now + 200_000
        stalled = random.random() < stalls
        heappush(wakes, (now + (random.randint(10_000, 60_000) if stalled else random.randint(1, 2_000)), n, ask_at))
    return sorted(at for worker in crew for at in worker.left)


@settings(max_examples=40, deadline=None)
@given(
    limit=quick | st.sampled_from([50.0, 99.0, 1000.0]),
    seed=st.integers(0, 10_000),
    workers=st.sampled_from([1, 4]),
    stalls=st.sampled_from([0.0, 0.02, 0.2, 0.9]),
)
def test_whatever_is_missed_and_however_late_they_leave_no_second_holds_more_than_the_limit(
    limit: float, seed: int, workers: int, stalls: float
) -> None:
    # Given workers that stand still for a while again and again, and calls each as late as may pass unnoticed
    left = dialled(limit, 3.0, seed=seed, workers=workers, stalls=stalls)
    # Then even so no sliding second holds more than the limit
    assert most_in_a_second(left, SECOND) <= floor(limit) + (1 if limit < 100 else 0)


@pytest.mark.parametrize("limit", [100.0, 500.0, 1000.0])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_quick_line_makes_up_for_start_times_that_were_missed(limit: float, workers: int) -> None:
    def missing(tell: bool) -> float:
        left = dialled(limit, 12.0, seed=1, workers=workers, stalls=0.002, tell=tell)
        steady = [at for at in left if START + 2 * SECOND <= at < START + 11 * SECOND]
        return aimed(limit) - len(steady) / 9

    # Given workers that stand still again and again, and either tell what they missed or not
    # Then most of what they missed is made up for where they tell
    assert missing(tell=False) >= 0.03 * limit
    assert missing(tell=True) <= 0.6 * missing(tell=False)


def test_a_call_that_left_far_too_late_is_counted_where_it_left() -> None:
    # Given a full line, one call of which left a fifth of a second after its start time
    books = Books({"line": START})
    for now in range(START, START + 2 * SECOND, 100_000):
        books = reserve(books, "line", 500.0, [Want("a", 1000)], now).books
    mark = books.given[-40]
    # When that is told
    books = reserve(books, "line", 500.0, [], mark + 200_000, [Correction(mark, 200_000)]).books
    # Then it is noted there
    assert mark not in books.given
    assert {mark + 200_000, mark + 200_001} & set(books.given)


def test_one_in_the_place_of_another_comes_only_where_all_seconds_that_will_hold_it_are_still_to_be_filled() -> None:
    # Given a line that has given out start times for half a second ahead
    books = reserve(Books({"line": START}), "line", 500.0, [Want("a", 1000)], START).books
    first, last = books.given[0], books.given[-1]
    # When an unused one is told of at once, or so late that a second lies between it and the last
    soon = reserve(books, "line", 500.0, [Want("a", 1)], first + 50_000, [Correction(first)])
    books = reserve(books, "line", 500.0, [Want("a", 1000)], last - 400_000 + SECOND // 2).books
    late = reserve(books, "line", 500.0, [Want("a", 1)], last + 400_000, [Correction(first)])
    # Then the other comes at once, or after all others
    assert soon.times == ((0, first + 50_000),)
    assert late.times[0][1] > books.given[-1]


def test_a_quick_line_makes_up_for_time_in_which_nobody_asked() -> None:
    # Given a line that was dialled for two seconds, and a twentieth of one in which nobody came for its start times
    books, taken = Books({"line": START}), []
    for now in range(START, START + 6 * SECOND, 50_000):
        if not START + 2_000_000 <= now < START + 2_550_000:
            grant = reserve(books, "line", 500.0, [Want("a", 1000)], now)
            books = grant.books
            taken += [at for _, at in grant.times]
    assert max(later - sooner for sooner, later in pairwise(taken)) >= 50_000
    # Then two seconds later each holds again as many as it may
    held = bisect_left(taken, START + 6_000_000) - bisect_left(taken, START + 5_000_000)
    assert held == spacing(500.0).most == most_in_a_second(taken, SECOND)


@pytest.mark.parametrize("idle", [0, 3 * SECOND])
def test_a_line_that_was_idle_keeps_its_step(idle: int) -> None:
    # Given a line that is new, or was dialled for two seconds and had nothing to do after
    books = Books({"line": START})
    for now in range(START, START + (2 * SECOND if idle else 0), 100_000):
        books = reserve(books, "line", 500.0, [Want("a", 1000)], now).books
    # When there is work, Then nothing has to be made up for
    grant = reserve(books, "line", 500.0, [Want("a", 1000)], START + 2 * SECOND + idle)
    assert {later - sooner for sooner, later in pairwise(grant.books.given)} == {spacing(500.0).step}


@pytest.mark.parametrize(("before", "after"), [(1000.0, 100.0), (1000.0, 2.0), (2.0, 1000.0), (150.0, 75.0)])
def test_where_the_limit_changes_each_holds_for_the_seconds_that_begin_under_it(before: float, after: float) -> None:
    # Given a line that was dialled for three seconds at one limit, and then at another
    books, taken = Books({"line": START}), []
    for now in range(START, START + 6 * SECOND, 50_000):
        limit = before if now < START + 3 * SECOND else after
        grant = reserve(books, "line", limit, [Want("a", 1000)], now)
        books = grant.books
        taken += [at for _, at in grant.times]
    # Then no second holds more than the larger, none that begins under the new one more than that
    new = [at for at in taken if at >= START + 3_500_000]
    assert most_in_a_second(taken, SECOND) <= ceil(aimed(max(before, after)))
    assert most_in_a_second(new, SECOND) <= ceil(aimed(after))
    assert len([at for at in new if at >= START + 5 * SECOND]) >= 0.9 * aimed(after)


@given(limit=slow | quick, until_flush=st.integers(0, 2 * SECOND), after=st.integers(0, 2 * SECOND))
@example(limit=500.0, until_flush=300_000, after=0)
def test_lost_books_never_double_the_pace(limit: float, until_flush: int, after: int) -> None:
    # Given a line that has given out all it may, When its books are lost and it is asked at once or later
    grant = reserve(Books({"line": 0}), "line", limit, [Want("a", 10_000)], until_flush)
    again = reserve(Books(), "line", limit, [Want("a", 10_000)], until_flush + after)
    # Then nothing leaves before all that was promised has, and it begins with one call
    promised = [at for _, at in grant.times]
    assert not again.times
    books, resumed = again.books, []
    for now in range(until_flush + after + 1, until_flush + after + 3 * SECOND, 100_000):
        more = reserve(books, "line", limit, [Want("a", 10_000)], now)
        books = more.books
        resumed += [at for _, at in more.times]
    assert resumed or limit < 1
    assert all(at >= max(promised, default=0) for at in resumed)
    assert most_in_a_second([*promised, *resumed], SECOND) <= ceil(limit) + (1 if limit < 100 else 0)


@pytest.mark.parametrize("limit", [2.0, 500.0])
def test_books_that_lie_too_far_ahead_are_of_another_clock_and_count_as_lost(limit: float) -> None:
    # Given books of a clock that has since been set back by an hour
    later = 3600 * SECOND
    books = Books({"line": later}, tuple(range(later - 990_000, later, 1000)), 0)
    grant = reserve(books, "line", limit, [Want("a", 1)], 0)
    # Then they hold nobody up for an hour
    assert grant.retry_at == spacing(limit).opening - AHEAD
    assert grant.books.free["line"] == spacing(limit).opening
    assert grant.books.given == ()


@pytest.mark.parametrize(("slower", "limit"), [(0.1, 0.2), (0.2, 50.0), (2.0, 500.0)])
def test_a_free_time_of_a_slower_limit_is_brought_nearer_but_not_to_the_last_call(slower: float, limit: float) -> None:
    # Given a line whose last call leaves in half a second, and whose next would be long after that
    books = reserve(Books({"line": START}), "line", slower, [Want("a", 1)], START - AHEAD + 1).books
    # When its limit is raised
    grant = reserve(books, "line", limit, [Want("a", 1)], START - AHEAD + 2)
    # Then the next comes a step of the new limit after the last that may have been given
    assert grant.books.free["line"] == START + 2 + spacing(limit).step
