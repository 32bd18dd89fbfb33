"""Start times: never nearer than the pace allows, none wasted, those missed made up for, each call counted where it
left, and a flush costs one call at most."""

from bisect import bisect_left
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from math import ceil
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.domain.pace import Correction, Want
from campaign.policies.pacing import SECOND, aimed, lateness_allowed, spacing
from campaign.policies.reserving import AHEAD, Books, Grant, Row, reserve
from tests.sliding import most_in_a_second

START = 1000 * SECOND
slow = st.sampled_from([0.2, 1.0, 2.0, 7.3, 9.9])
quick = st.sampled_from([10.0, 14.7, 50.0, 99.0, 100.0, 102.6, 250.0, 500.0])
counts = st.integers(0, 40)
own = st.none() | st.sampled_from([0.5, 1.0, 4.0, 30.0, 120.0])
keys = ("a", "b", "c")


def books_of(*rows: str) -> Books:
    """Of a line and groups that have nothing behind them."""
    return Books({key: Row(START) for key in rows})


@st.composite
def askings(draw: st.DrawFn) -> list[tuple[int, list[Want]]]:
    """Several workers over a few seconds: (microseconds since the last asking, what for). A key keeps its limit."""
    limit = {key: draw(own) for key in keys}
    one = st.builds(lambda key, count: Want(key, count, limit[key]), st.sampled_from(keys), counts)
    wants = st.lists(one, unique_by=lambda want: want.key, min_size=1, max_size=3)
    return draw(st.lists(st.tuples(st.integers(0, 700_000), wants), min_size=1, max_size=15))


@dataclass
class Tried:
    """A row of the books for the oracle: the next moment is found by counting what each second holds."""

    row: Row
    limit: float
    now: int

    def __post_init__(self) -> None:
        self.free = max(self.now, self.row.free)
        self.noted = [latest for latest, _ in self.row.noted if latest > self.now - SECOND]
        self.since = self.row.since if self.noted else None

    def next(self) -> int:
        at = self.free
        while sum(1 for noted in self.noted if noted > at - SECOND) >= spacing(self.limit).most:
            at = min(noted for noted in self.noted if noted > at - SECOND) + SECOND
        return at

    def give(self, slot: int) -> None:
        apart = spacing(self.limit)
        self.noted.append(slot + apart.late)
        self.since = slot if self.since is None else self.since
        self.free = slot + (apart.quick if slot - self.since >= SECOND else apart.step)


def oracle(books: Books, limit: float, wants: list[Want], now: int) -> list[tuple[int, int]]:
    """The same answer by trying every group for every slot: the earliest goes, then who has waited longest."""
    line = Tried(books.rows["line"], limit, now)
    own = {i: Tried(books.rows[want.key], want.limit, now) for i, want in enumerate(wants) if want.limit}
    last, left = [now] * len(wants), [want.count for want in wants]
    found: list[tuple[int, int]] = []
    while any(left):
        ready = [own[i].next() if i in own else last[i] for i in range(len(wants))]
        slot, _, i = min((max(line.next(), ready[i]), ready[i], i) for i in range(len(wants)) if left[i] > 0)
        if slot >= now + AHEAD:
            break
        found.append((i, slot))
        line.give(slot)
        last[i] = slot
        left[i] -= 1
        if i in own:
            own[i].give(slot)
    return found


def ask(story: list[tuple[int, list[Want]]], limit: float) -> list[tuple[int, list[Want], Grant, Books]]:
    now, books = START, books_of("line", *keys)
    asked = []
    for since, wants in story:
        now += since
        grant = reserve(books, "line", limit, wants, now)
        asked.append((now, wants, grant, books))
        books = grant.books
    return asked


@settings(max_examples=150)
@given(story=askings(), limit=slow | quick)
def test_it_is_what_trying_every_group_for_every_slot_gives(story: list[tuple[int, list[Want]]], limit: float) -> None:
    for now, wants, grant, before in ask(story, limit):
        assert list(grant.times) == oracle(before, limit, wants, now)


@settings(max_examples=120)
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
    assert most_in_a_second(line, SECOND) <= spacing(limit).most
    for limited, times in groups.values():
        if limited is not None:
            assert all(later - sooner >= spacing(limited).quick for sooner, later in pairwise(times))
            assert most_in_a_second(times, SECOND) <= spacing(limited).most


@settings(max_examples=120)
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
    grant = reserve(Books({"line": Row(0)}), "line", limit, [Want("a", count), Want("b", count)], 0)
    given_ = [sum(1 for i, _ in grant.times if i == n) for n in (0, 1)]
    assert abs(given_[0] - given_[1]) <= 2


@dataclass
class Worker:
    """Sleeps, sends what has come up meanwhile, and asks for more, telling what it missed and when the others left."""

    random: Random
    limit: float
    tells: bool = True
    held_up: bool = False
    own: float | None = None
    starts: list[int] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def wake(self, now: int) -> None:
        """Each leaves at once, or, where some are held up, one in ten as late as may be or a little sooner."""
        allowed = round(min(map(lateness_allowed, (self.limit, self.own or self.limit))) * SECOND)
        due = [at for at in self.starts if at <= now]
        self.starts = [at for at in self.starts if at > now]
        self.corrections += [Correction(at, None, self._want.own) for at in due if now > at + allowed]
        for at in due:
            if now <= at + allowed:
                latest = at + max(allowed, spacing(self.limit).late)
                held_up = self.held_up and self.random.random() < 0.1
                left = self.random.choice((latest, self.random.randint(now, latest))) if held_up else now
                self.sent.append((at, left))
                self.left.append(left)

    def ask(self, books: Books, now: int) -> Books:
        self.corrections += [Correction(at, left - at, self._want.own) for at, left in self.sent if left <= now]
        self.sent = [(at, left) for at, left in self.sent if left > now]
        told = self.corrections if self.tells else ()
        grant = reserve(books, "line", self.limit, [self._want], now, told)
        self.starts += [at for _, at in grant.times]
        self.corrections = []
        return grant.books

    @property
    def _want(self) -> Want:
        return Want("a", 300, self.own)


def dialled(
    limit: float,
    seconds: float,
    *,
    seed: int,
    workers: int,
    stalls: float,
    longest: int,
    tell: bool,
    held_up: bool = False,
    own: float | None = None,
) -> list[int]:
    """When the calls of a line left that has work for ever, all of a campaign that may have its ``own`` pace.
    ``stalls`` is the share of a worker's sleeps that last from 10 to ``longest`` milliseconds and not about one."""
    random = Random(seed)
    books, now, crew = books_of("line", "a"), START, [Worker(random, limit, tell, held_up, own) for _ in range(workers)]
    wakes = [(START, n, START) for n in range(workers)]
    while now < START + seconds * SECOND:
        now, n, ask_at = heappop(wakes)
        crew[n].wake(now)
        if now >= ask_at:
            books, ask_at = crew[n].ask(books, now), now + 200_000
        stalled = random.random() < stalls
        sleep = random.randint(10, longest) * 1000 if stalled else random.randint(1, 2_000)
        heappush(wakes, (now + sleep, n, ask_at))
    return sorted(at for worker in crew for at in worker.left)


@settings(max_examples=60, deadline=None)
@given(
    limit=quick | st.sampled_from([1000.0]),
    seed=st.integers(0, 10_000),
    workers=st.sampled_from([1, 4]),
    stalls=st.sampled_from([0.0, 0.02, 0.2, 0.9]),
    longest=st.sampled_from([20, 60, 400]),
    tell=st.booleans(),
    own=st.none() | quick,
)
def test_whatever_is_missed_and_however_late_they_leave_no_second_of_a_quick_line_is_fuller_than_it_may_be(
    limit: float, seed: int, workers: int, stalls: float, longest: int, tell: bool, own: float | None
) -> None:
    # Given workers that stand still again and again, for up to 0.4 s, and calls each as late as may be, told of or not
    left = dialled(
        limit, 3.0, seed=seed, workers=workers, stalls=stalls, longest=longest, tell=tell, held_up=True, own=own
    )
    # Then even so no sliding second holds more than is aimed at
    assert most_in_a_second(left, SECOND) <= min(spacing(limit).most, spacing(own or limit).most) <= limit


@pytest.mark.parametrize("limit", [10.0, 50.0, 100.0, 1000.0])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_quick_line_whose_workers_stand_still_again_and_again_keeps_its_pace(limit: float, workers: int) -> None:
    def reached(*, tell: bool) -> float:
        left = dialled(limit, 9.0, seed=1, workers=workers, stalls=0.002, longest=60, tell=tell)
        return sum(START + 2 * SECOND <= at < START + 8 * SECOND for at in left) / 6 / limit

    # Given workers that stand still for a while once a second or so each
    # Then little is lost, unless nobody tells when calls left: then the line is slower, and no second fuller
    assert reached(tell=True) >= 0.93
    assert reached(tell=False) <= 0.8


@pytest.mark.parametrize("limit", [10.0, 50.0, 99.0, 100.0, 400.0])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_quick_line_whose_workers_are_late_all_the_time_hardly_slows_down(limit: float, workers: int) -> None:
    # Given workers that wake some 50 ms late nearly every time, When they dial, Then every call leaves all the same,
    for of_line, own in ((limit, None), (500.0, limit)):  # also where the limit is a campaign's own
        left = dialled(of_line, 9.0, seed=1, workers=workers, stalls=0.9, longest=100, tell=True, own=own)
        assert sum(START + 2 * SECOND <= at < START + 8 * SECOND for at in left) / 6 / limit >= 0.88


def full(limit: float) -> Books:
    """The books of a line that has been dialled for three seconds, each call at its start time."""
    books, told = books_of("line"), START
    for now in range(START, START + 3 * SECOND + 1, 100_000):
        left = [Correction(mark, 0) for _, mark in books.rows["line"].noted if told <= mark < now]
        books, told = reserve(books, "line", limit, [Want("a", 1000)], now, left).books, now
    return books


def test_a_call_is_counted_where_it_left_and_until_that_is_told_where_it_may_leave_at_the_latest() -> None:
    # Given a line of 500 calls a second, and one of its start times
    books, now = full(500.0), START + 3 * SECOND
    mark = next(at for _, at in books.rows["line"].noted if at >= now)
    # Then it is noted where its call may leave at the latest
    assert (mark + spacing(500.0).late, mark) in books.rows["line"].noted
    # When it is told that the call left a fifth of a second late, Then it is noted there
    books = reserve(books, "line", 500.0, [], now + 200_000, [Correction(mark, 200_000)]).books
    assert (mark + 200_000, mark) in books.rows["line"].noted
    # And when that none left, not at all
    books = reserve(books, "line", 500.0, [], now + 200_000, [Correction(mark)]).books
    assert mark not in [at for _, at in books.rows["line"].noted]


def test_a_quick_line_makes_up_for_time_in_which_nobody_asked() -> None:
    # Given a line that was dialled for two seconds, and a twentieth of one in which nobody came for its start times
    books, taken = books_of("line"), []
    for now in range(START, START + 6 * SECOND, 50_000):
        if not 0 <= now - (START + 2 * SECOND) < AHEAD + 50_000:
            left = [Correction(mark, 0) for _, mark in books.rows["line"].noted if mark < now]
            grant = reserve(books, "line", 500.0, [Want("a", 1000)], now, left)
            books = grant.books
            taken += [at for _, at in grant.times]
    assert max(later - sooner for sooner, later in pairwise(taken)) >= 50_000
    # Then two seconds later each holds again as many as it may
    held = bisect_left(taken, START + 6_000_000) - bisect_left(taken, START + 5_000_000)
    assert held == spacing(500.0).most == most_in_a_second(taken, SECOND)


@pytest.mark.parametrize("idle", [0, 3 * SECOND])
def test_a_line_that_was_idle_keeps_its_step(idle: int) -> None:
    # Given a line that is new, or was dialled for two seconds and had nothing to do after
    books = books_of("line")
    for now in range(START, START + (2 * SECOND if idle else 0), 100_000):
        books = reserve(books, "line", 500.0, [Want("a", 1000)], now).books
    # When there is work, Then nothing has to be made up for
    grant = reserve(books, "line", 500.0, [Want("a", 1000)], START + 2 * SECOND + idle)
    assert {later - sooner for sooner, later in pairwise(mark for _, mark in grant.books.rows["line"].noted)} == {
        spacing(500.0).step
    }


@pytest.mark.parametrize(("before", "after"), [(1000.0, 100.0), (1000.0, 2.0), (2.0, 1000.0), (150.0, 75.0)])
def test_where_the_limit_changes_each_holds_for_the_seconds_that_begin_under_it(before: float, after: float) -> None:
    # Given a line that was dialled for three seconds at one limit, and then at another
    books, taken = books_of("line"), []
    for now in range(START, START + 6 * SECOND, 50_000):
        limit = before if now < START + 3 * SECOND else after
        left = [Correction(mark, 0) for _, mark in books.rows["line"].noted if mark < now]
        grant = reserve(books, "line", limit, [Want("a", 1000)], now, left)
        books = grant.books
        taken += [at for _, at in grant.times]
    # Then no second holds more than the larger, none that begins under the new one more than that
    new = [at for at in taken if at >= START + 3 * SECOND + AHEAD]
    assert most_in_a_second(taken, SECOND) <= spacing(max(before, after)).most
    assert most_in_a_second(new, SECOND) <= spacing(after).most
    assert len([at for at in new if at >= START + 5 * SECOND]) >= 0.9 * aimed(after)


@given(limit=slow | quick, until_flush=st.integers(0, 2 * SECOND), after=st.integers(0, 2 * SECOND))
@example(limit=500.0, until_flush=300_000, after=0)
def test_lost_books_never_double_the_pace(limit: float, until_flush: int, after: int) -> None:
    # Given a line that has given out all it may, When its books are lost and it is asked at once or later
    grant = reserve(Books({"line": Row(0)}), "line", limit, [Want("a", 10_000)], until_flush)
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
    books = Books({"line": Row(later, tuple((at, at) for at in range(later - 990_000, later, 1000)), 0)})
    grant = reserve(books, "line", limit, [Want("a", 1)], 0)
    # Then they hold nobody up for an hour
    assert grant.retry_at == spacing(limit).opening - AHEAD
    assert grant.books.rows["line"].free == spacing(limit).opening
    assert grant.books.rows["line"].noted == ()


@pytest.mark.parametrize(("slower", "limit"), [(0.1, 0.2), (0.2, 50.0), (2.0, 500.0)])
def test_a_free_time_of_a_slower_limit_is_brought_nearer_but_not_to_the_last_call(slower: float, limit: float) -> None:
    # Given a line whose last call leaves in half a second, and whose next would be long after that
    books = reserve(books_of("line"), "line", slower, [Want("a", 1)], START - AHEAD + 1).books
    # When its limit is raised
    grant = reserve(books, "line", limit, [Want("a", 1)], START - AHEAD + 2)
    # Then the next comes a step of the new limit after the last that may have been given
    assert grant.books.rows["line"].free == START + 2 + spacing(limit).step
