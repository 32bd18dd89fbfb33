"""The schedule of retry batches, held against an oracle that looks at every minute there is."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.policies.cron import Cron, next_fire, parse

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago"]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def oracle(cron: Cron, zone: ZoneInfo, after: float, days: int) -> float | None:
    """Walk the real minutes: a wall minute fires when it is first shown, a skipped one when the clock jumped it."""
    minute = datetime.fromtimestamp(after // 60 * 60, UTC)
    shown = minute.astimezone(zone).replace(tzinfo=None)
    for _ in range(days * 1440):
        minute += timedelta(minutes=1)
        local = minute.astimezone(zone)
        wall = local.replace(tzinfo=None)
        skipped = [shown + timedelta(minutes=n) for n in range(1, int((wall - shown).total_seconds() // 60))]
        if (local.fold == 0 and cron.matches(wall)) or any(cron.matches(w) for w in skipped):
            return minute.timestamp()
        shown = wall
    return None


def some_field(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    ranged = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.sampled_from(["*", f"{first}-{last}", str(first)]), st.integers(1, last)).map(
        lambda pair: f"{pair[0]}/{pair[1]}"
    )
    part = st.one_of(number.map(str), ranged, stepped)
    return st.one_of(st.just("*"), part, st.lists(part, min_size=2, max_size=3).map(",".join))


expressions = st.tuples(
    some_field(0, 59), some_field(0, 23), some_field(1, 31), st.just("*"), some_field(0, 7)
).map(" ".join)  # fmt: skip
near_transitions = st.sampled_from(
    [at("2026-03-29T00:00Z"), at("2026-10-25T00:00Z"), at("2026-03-08T06:00Z"), at("2026-11-01T05:00Z")]
)
moments = st.one_of(st.integers(1_600_000_000, 2_100_000_000), near_transitions.flatmap(
    lambda base: st.integers(-7200, 14_400).map(lambda offset: int(base) + offset)))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(expression=expressions, zone=st.sampled_from(ZONES), after=moments)
@example(expression="30 2 * * *", zone="Europe/Berlin", after=int(at("2026-03-29T00:10Z")))
@example(expression="30 2 * * *", zone="Europe/Berlin", after=int(at("2026-10-25T00:10Z")))
@example(expression="*/15 * * * *", zone="America/New_York", after=int(at("2026-11-01T06:05Z")))
def test_the_next_fire_is_the_one_that_a_walk_over_every_minute_finds(expression: str, zone: str, after: int) -> None:
    cron, there = parse(expression), ZoneInfo(zone)
    expected = oracle(cron, there, after, days=4)
    found = next_fire(cron, there, float(after))
    if expected is None:
        assert found is None or found > after + 4 * 86_400 - 60
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("0 10 * * mon-fri", "UTC", "2026-11-20T10:00Z", "2026-11-23T10:00Z"),  # a Friday; not twice in its minute
        ("0 10 1 * mon", "UTC", "2026-11-24T00:00Z", "2026-11-30T10:00Z"),  # either day is enough
        ("@daily", "America/New_York", "2026-11-20T12:00Z", "2026-11-21T05:00Z"),
        ("0 0 29 feb *", "UTC", "2026-01-01T00:00Z", "2028-02-29T00:00Z"),
        ("0 0 * * 7", "UTC", "2026-11-20T12:00Z", "2026-11-22T00:00Z"),  # 7 is Sunday too
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z"),  # 02:30 never comes: at 03:00
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-26T01:30Z"),  # 02:30 comes twice: fires once
    ],
)
def test_a_schedule_fires_at(expression: str, zone: str, after: str, expected: str) -> None:
    assert next_fire(parse(expression), ZoneInfo(zone), at(after)) == at(expected)


def test_a_day_that_never_comes_never_fires() -> None:
    assert next_fire(parse("0 0 30 2 *"), ZoneInfo("UTC"), at("2026-01-01T00:00Z")) is None


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("0 10 * *", "has 4 fields and needs 5"),
        ("60 * * * *", "minute '60' is not within 0 to 59"),
        ("* * * foo *", "month 'foo' is not within 1 to 12"),
        ("*/0 * * * *", "step of 0"),
        ("30-10 * * * *", "runs backwards"),
        ("a;b * * * *", "is not a number, a range"),
        ("", "has 0 fields"),
    ],
)
def test_a_schedule_that_cannot_be_read_says_which_field(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(expression)
