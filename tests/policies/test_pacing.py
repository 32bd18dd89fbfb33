"""Start times: never nearer than the pace allows, none wasted, and a flush costs one call at most."""

from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.domain.pace import Want
from campaign.policies.pacing import (
    FENCEPOST_BELOW,
    HORIZON,
    MOST_LATE,
    Grant,
    aimed,
    lateness_allowed,
    reserve,
    room,
)

BLINK = 1e-6
rates = st.sampled_from([0.2, 1.0, 2.0, 7.3, 50.0, 500.0])
counts = st.integers(0, 40)
limits = st.none() | st.sampled_from([0.5, 1.0, 4.0, 30.0])
keys = ("a", "b", "c")


@st.composite
def askings(draw: st.DrawFn) -> list[tuple[float, list[Want]]]:
    """Several workers over a few seconds: (seconds since the last asking, what for). A key keeps its limit."""
    limit = {key: draw(limits) for key in keys}
    one = st.builds(lambda key, count: Want(key, count, limit[key]), st.sampled_from(keys), counts)
    wants = st.lists(one, unique_by=lambda want: want.key, min_size=1, max_size=3)
    return draw(st.lists(st.tuples(st.floats(0.0, 0.7), wants), min_size=1, max_size=15))


def oracle(buckets: dict[str, float], rate: float, wants: list[Want], now: float) -> list[tuple[int, float]]:
    """The same answer by trying every group for every slot: the earliest goes, then who has waited longest."""
    end = now + HORIZON
    line = max(now, min(buckets.get("line", end), end + 1.0 / rate))
    ready = dict.fromkeys(range(len(wants)), now)
    for i, want in enumerate(wants):
        if want.limit:
            ready[i] = max(now, min(buckets.get(want.key, end), end + 1.0 / want.limit))
    left = {i: want.count for i, want in enumerate(wants)}
    found: list[tuple[int, float]] = []
    while candidates := [(max(line, ready[i]), ready[i], i) for i in left if left[i] > 0]:
        slot, _, i = min(candidates)
        if slot >= end:
            break
        found.append((i, slot))
        left[i] -= 1
        line = slot + 1.0 / rate
        limit = wants[i].limit
        ready[i] = slot + (1.0 / limit if limit else 0.0)
    return found


def ask(story: list[tuple[float, list[Want]]], rate: float) -> list[tuple[float, list[Want], Grant, dict[str, float]]]:
    now, buckets = 1000.0, {"line": 1000.0, **dict.fromkeys(keys, 1000.0)}
    asked = []
    for since, wants in story:
        now += since
        before = dict(buckets)
        grant = reserve(buckets, "line", rate, wants, now)
        assert buckets == before, "the buckets handed in are not changed"
        asked.append((now, wants, grant, before))
        buckets = grant.buckets
    return asked


@settings(max_examples=200)
@given(story=askings(), rate=rates)
def test_it_is_what_trying_every_group_for_every_slot_gives(story: list[tuple[float, list[Want]]], rate: float) -> None:
    for now, wants, grant, before in ask(story, rate):
        assert list(grant.times) == oracle(before, rate, wants, now)


@settings(max_examples=200)
@given(story=askings(), rate=rates)
def test_no_sliding_second_holds_more_than_the_pace_of_the_line_nor_of_a_group(
    story: list[tuple[float, list[Want]]], rate: float
) -> None:
    line: list[float] = []
    groups: dict[str, tuple[float | None, list[float]]] = {}
    for now, wants, grant, _ in ask(story, rate):
        for index, at in grant.times:
            assert now <= at < now + HORIZON
            line.append(at)
            groups.setdefault(wants[index].key, (wants[index].limit, []))[1].append(at)
    _evenly(line, rate)
    for limit, times in groups.values():
        if limit is not None:
            _evenly(times, limit)


def _evenly(times: list[float], rate: float) -> None:
    assert all(later - sooner >= 1.0 / rate - BLINK for sooner, later in pairwise(times))
    most = max((sum(1 for other in times if at <= other < at + 1.0 - BLINK) for at in times), default=0)
    assert most <= ceil(rate)


@settings(max_examples=200)
@given(story=askings(), rate=rates)
def test_none_is_withheld_and_the_next_time_to_ask_is_said(story: list[tuple[float, list[Want]]], rate: float) -> None:
    for now, wants, grant, _ in ask(story, rate):
        given_ = [sum(1 for i, _ in grant.times if i == n) for n in range(len(wants))]
        short = [w.count - g for w, g in zip(wants, given_, strict=True)]
        assert min(short) >= 0
        assert (grant.retry_at is None) == (not any(short))
        if grant.retry_at is not None:
            later = max(grant.retry_at, now) + BLINK
            rest = [Want(w.key, s, w.limit) for w, s in zip(wants, short, strict=True)]
            again = reserve(grant.buckets, "line", rate, rest, later)
            assert again.times, "asked again at that time, it gives"


@given(rate=st.sampled_from([2.0, 50.0, 500.0]), count=st.integers(1, 400))
def test_groups_without_limits_share_the_line_evenly(rate: float, count: int) -> None:
    grant = reserve({"line": 0.0}, "line", rate, [Want("a", count), Want("b", count)], 0.0)
    given_ = [sum(1 for i, _ in grant.times if i == n) for n in (0, 1)]
    assert abs(given_[0] - given_[1]) <= 2


@given(rate=rates, until_flush=st.floats(0.0, 2.0), after=st.floats(0.0, 2.0))
@example(rate=500.0, until_flush=0.3, after=0.0)
def test_lost_buckets_never_double_the_pace(rate: float, until_flush: float, after: float) -> None:
    # Given a line that has given out all it may, When its buckets are lost and it is asked at once or later
    grant = reserve({"line": 0.0}, "line", rate, [Want("a", 10_000)], until_flush)
    again = reserve({}, "line", rate, [Want("a", 10_000)], until_flush + after)
    # Then nothing leaves before all that was promised has, and it begins with one call
    promised = [at for _, at in grant.times]
    assert not again.times
    resumed = reserve(again.buckets, "line", rate, [Want("a", 10_000)], until_flush + after + BLINK).times
    everything = sorted([*promised, *(at for _, at in resumed)])
    assert not promised or all(at >= max(promised) for _, at in resumed)
    most = max((sum(1 for o in everything if at <= o < at + 1.0 - BLINK) for at in everything), default=0)
    assert most <= ceil(rate) + 1


def test_a_bucket_that_lies_too_far_ahead_is_of_a_slower_limit_or_another_clock() -> None:
    grant = reserve({"line": 1e9}, "line", 2.0, [Want("a", 1)], 0.0)
    assert grant.buckets["line"] == HORIZON + 0.5
    assert grant.retry_at == 0.5


@given(stored=st.none() | st.floats(0.0, 3.0), rate=rates, now=st.floats(0.0, 3.0))
def test_room_is_what_reserve_would_give(stored: float | None, rate: float, now: float) -> None:
    buckets = {} if stored is None else {"line": stored}
    grant = reserve(buckets, "line", rate, [Want("a", 10_000)], now)
    slots, asks_from = room(stored, rate, now)
    assert abs(slots - len(grant.times)) <= 1
    if not grant.times:
        assert slots == 0
        assert grant.retry_at is not None
        assert asks_from == pytest.approx(max(now, grant.retry_at))


@settings(max_examples=300)
@given(limit=st.floats(0.1, 5000.0) | st.integers(1, 5000).map(float), phase=st.floats(0.0, 1.0))
@example(limit=1.75, phase=0.0)
@example(limit=99.9, phase=0.0)
@example(limit=100.0, phase=0.0)
def test_with_every_start_as_late_as_is_allowed_the_limit_still_holds(limit: float, phase: float) -> None:
    late = lateness_allowed(limit)
    assert 0.0 < late <= MOST_LATE
    step = 1.0 / aimed(limit)
    # Given the worst second: those that start before it leave as late as they may, into it; the others at once
    first = -late + phase * step
    inside = floor((1.0 - first) / step) + 1
    assert inside <= floor(limit) + (1 if limit < FENCEPOST_BELOW else 0)
