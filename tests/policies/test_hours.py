"""Calling hours against an oracle that only reads the wall clock, in zones with every kind of clock change."""

from datetime import date, datetime, timedelta
from itertools import product
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.domain.plan import DAYS, Hours, Window
from campaign.policies.hours import AT_ONCE, LOOK_AHEAD_DAYS, Closed, Open, window

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # half an hour
    "Asia/Kathmandu",  # three quarters
    "Australia/Lord_Howe",  # a change of half an hour
    "America/Santiago",  # changes at midnight
    "Asia/Beirut",  # changes at midnight
    "Africa/Casablanca",  # backwards for a month
    "Pacific/Apia",  # has skipped a day
]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


TRANSITIONS = [
    at("2026-03-29T01:00Z"),  # Berlin forward
    at("2026-10-25T01:00Z"),  # Berlin back
    at("2026-03-08T07:00Z"),  # New York forward
    at("2026-11-01T06:00Z"),  # New York back
    at("2026-04-04T15:00Z"),  # Lord Howe back
    at("2026-10-03T15:30Z"),  # Lord Howe forward
    at("2026-09-06T04:00Z"),  # Santiago forward, at midnight
    at("2026-04-05T03:00Z"),  # Santiago back, at midnight
    at("2026-03-28T22:00Z"),  # Beirut forward, at midnight
    at("2011-12-30T10:00Z"),  # Apia skips 30 December
]


def wall_says_open(hours: Hours, zones: tuple[str, ...], now: float) -> bool:
    """Every zone's wall clock is inside a window of a day that is not closed."""
    for name in zones:
        wall = datetime.fromtimestamp(now, ZoneInfo(name))
        if wall.date() in {*hours.holidays, *hours.blackout}:
            return False
        mine = [w for w in hours.windows if DAYS[wall.weekday()] in w.days]
        if hours.windows and not any(w.opens <= wall.time() < w.closes for w in mine):
            return False
    return True


def clocks_are_quiet(zones: tuple[str, ...], now: float, days: float) -> bool:
    """No zone changes its clock from two days before until ``days`` after."""
    moments = [now + hour * 3600.0 for hour in range(-48, int(days * 24) + 48, 6)]
    return all(
        len({datetime.fromtimestamp(moment, ZoneInfo(name)).utcoffset() for moment in moments}) == 1 for name in zones
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    opens = draw(st.integers(0, 22 * 60))
    closes = draw(st.integers(opens + 1, 24 * 60 - 1))
    days = draw(st.sets(st.sampled_from(DAYS), min_size=1))
    minute = "{:02d}:{:02d}".format
    return Window.model_validate(
        {"from": minute(*divmod(opens, 60)), "to": minute(*divmod(closes, 60)), "days": sorted(days)}
    )


moments = st.one_of(
    st.integers(1_300_000_000, 2_000_000_000).map(float),
    st.sampled_from(TRANSITIONS).flatmap(lambda t: st.integers(-90_000, 90_000).map(lambda off: t + off)),
)
zone_sets = st.sets(st.sampled_from(ZONES), min_size=1, max_size=3).map(lambda names: tuple(sorted(names)))
all_day = Window.model_validate({"from": "00:00", "to": "23:59"})
early = Window.model_validate({"from": "01:30", "to": "02:30"})


@settings(max_examples=200)
@given(found=st.lists(windows(), min_size=1, max_size=3), zones=zone_sets, now=moments,
       off=st.sets(st.integers(-2, 3), max_size=2))  # fmt: skip
@example(found=[early], zones=("Europe/Berlin",), now=TRANSITIONS[0] - 900.0, off=set())
@example(found=[early], zones=("Europe/Berlin",), now=TRANSITIONS[1] - 2700.0, off=set())
@example(found=[all_day], zones=("Pacific/Apia",), now=TRANSITIONS[-1] + 60.0, off={0})
@example(found=[all_day], zones=("America/Santiago", "Asia/Beirut"), now=TRANSITIONS[6] + 1.0, off={0})
def test_open_is_never_said_where_a_wall_clock_says_closed(
    found: list[Window], zones: tuple[str, ...], now: float, off: set[int]
) -> None:
    # Given windows, with days off around now
    today = datetime.fromtimestamp(now, ZoneInfo(zones[0])).date()
    hours = Hours(windows=tuple(found), holidays=tuple(today + timedelta(days=n) for n in off))
    # When they are asked
    answer = window(hours, zones, now)
    if isinstance(answer, Open):
        # Then every zone's wall clock agrees, now and as long as a request may be on its way
        assert wall_says_open(hours, zones, now)
        assert wall_says_open(hours, zones, now + AT_ONCE - 0.001)
    elif answer.opens_at is not None:
        assert answer.opens_at > now
        assert isinstance(window(hours, zones, answer.opens_at), Open)


@settings(max_examples=150)
@given(found=st.lists(windows(), min_size=1, max_size=3), zones=zone_sets, now=moments,
       margin=st.floats(0.0, 43_200.0), held=st.floats(0.0, 1.0))  # fmt: skip
@example(found=[early], zones=("Europe/Berlin",), now=TRANSITIONS[1] - 4500.0, margin=600.0, held=1.0)
@example(found=[all_day], zones=("America/Santiago",), now=TRANSITIONS[6] - 900.0, margin=600.0, held=1.0)
def test_a_call_that_is_held_for_no_longer_than_the_margin_rings_inside_every_window(
    found: list[Window], zones: tuple[str, ...], now: float, margin: float, held: float
) -> None:
    # Given a line that may hold a call for `margin`, When the window is open for it
    hours = Hours(windows=tuple(found))
    if not isinstance(window(hours, zones, now, margin), Open):
        return
    # Then it rings while every wall clock says open, however long of that it is held
    assert wall_says_open(hours, zones, now + max(margin * held - 0.001, 0.0))


@settings(max_examples=200)
@given(found=st.lists(windows(), min_size=1, max_size=3), zones=zone_sets, now=moments,
       less=st.floats(0.0, 7200.0), more=st.floats(0.0, 7200.0))  # fmt: skip
def test_a_longer_margin_never_opens_what_a_shorter_one_closes(
    found: list[Window], zones: tuple[str, ...], now: float, less: float, more: float
) -> None:
    hours = Hours(windows=tuple(found))
    if isinstance(window(hours, zones, now, less + more), Open):
        assert isinstance(window(hours, zones, now, less), Open)


@settings(max_examples=200)
@given(found=st.lists(windows(), min_size=1, max_size=3), zones=zone_sets, now=moments)
def test_closed_is_never_said_for_longer_than_the_wall_clocks_say(
    found: list[Window], zones: tuple[str, ...], now: float
) -> None:
    """Far from a clock change the answer is exact, to the minute."""
    hours = Hours(windows=tuple(found))
    answer = window(hours, zones, now)
    until = answer.opens_at if isinstance(answer, Closed) else None
    if isinstance(answer, Open) or not clocks_are_quiet(zones, now, LOOK_AHEAD_DAYS):
        return
    last = until if until is not None else now + (LOOK_AHEAD_DAYS - 3) * 86_400.0
    step = 60.0 if last - now < 90_000.0 else 1740.0
    moment = now
    while moment < last:
        both = wall_says_open(hours, zones, moment) and wall_says_open(hours, zones, moment + AT_ONCE)
        whole = all(wall_says_open(hours, zones, moment + part) for part in (7.5, 15.0, 22.5))
        assert not (both and whole), f"open at {moment} and not said so"
        moment += step


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"])
def test_every_five_minutes_around_a_clock_change(zone: str) -> None:
    for found, now in product((early, all_day), (t + off for t in TRANSITIONS for off in range(-7200, 7201, 300))):
        hours = Hours(windows=(found,))
        if isinstance(window(hours, (zone,), now), Open):
            assert wall_says_open(hours, (zone,), now)


def test_a_skipped_or_doubled_opening_is_the_later_and_closing_the_earlier_one() -> None:
    hours = Hours(windows=(Window.model_validate({"from": "02:30", "to": "05:00"}),), zone="Europe/Berlin")
    answer = window(hours, (), at("2026-03-29T00:00Z"))
    assert answer == Closed(at("2026-03-29T03:30+02:00"), "outside calling hours")
    closing = Hours(windows=(Window.model_validate({"from": "00:30", "to": "02:30"}),), zone="Europe/Berlin")
    first_half_past_two = at("2026-10-25T02:30+02:00")
    assert isinstance(window(closing, (), first_half_past_two - AT_ONCE - 1.0), Open)
    assert isinstance(window(closing, (), first_half_past_two), Closed)


# --- failing closed, and the plain cases

OFFICE = (Window.model_validate({"from": "09:00", "to": "18:00", "days": ["mon", "tue", "wed", "thu", "fri"]}),)
MONDAY = at("2026-11-23T00:00Z")


def test_no_rule_is_no_restriction() -> None:
    assert window(None, (), MONDAY) == Open()
    assert window(Hours(), (), MONDAY) == Open()


@pytest.mark.parametrize("zones", [(), ("Nowhere/Atlantis",), ("Europe/Berlin", "Nowhere/Atlantis"), ("../etc",)])
def test_an_unknown_zone_is_closed_without_a_time(zones: tuple[str, ...]) -> None:
    answer = window(Hours(windows=OFFICE), zones, MONDAY + 12 * 3600.0)
    assert isinstance(answer, Closed)
    assert answer.opens_at is None
    assert answer.reason.startswith("time zone unknown")


def test_all_zones_of_a_number_must_be_open() -> None:
    # Given nine to six, When Berlin has opened and New York has not, Then it waits for New York
    both = ("America/New_York", "Europe/Berlin")
    answer = window(Hours(windows=OFFICE), both, MONDAY + 10 * 3600.0)
    assert answer == Closed(at("2026-11-23T09:00-05:00"), "outside calling hours")
    assert isinstance(window(Hours(windows=OFFICE), both, at("2026-11-23T09:00-05:00")), Open)


def test_zones_without_a_common_hour_say_so() -> None:
    short = (Window.model_validate({"from": "09:00", "to": "12:00"}),)
    answer = window(Hours(windows=short), ("America/Los_Angeles", "Asia/Kolkata"), MONDAY)
    assert answer == Closed(None, "no common calling window")


def test_the_last_call_leaves_before_the_margin() -> None:
    closes = at("2026-11-23T18:00Z")
    hours = Hours(windows=OFFICE, zone="UTC")
    assert isinstance(window(hours, (), closes - AT_ONCE - 0.001), Open)
    tomorrow = at("2026-11-24T09:00Z")
    why = "outside calling hours: closes at 18:00 UTC, stops 30s before because the line may queue"
    assert window(hours, (), closes - AT_ONCE) == Closed(tomorrow, why)
    assert window(hours, (), closes) == Closed(tomorrow, "outside calling hours")


def test_a_line_that_may_queue_stops_earlier_and_the_reason_says_so() -> None:
    # Given a line that may hold a call for five minutes, When it is six and four minutes to closing in Berlin
    closes = at("2026-11-23T18:00+01:00")
    hours = Hours(windows=OFFICE)
    assert window(hours, ("Europe/Berlin",), closes - 301.0, 300.0) == Open()
    answer = window(hours, ("Europe/Berlin",), closes - 240.0, 300.0)
    # Then it is closed, in the words of the wall clock there
    why = "outside calling hours: closes at 18:00 Europe/Berlin, stops 5m before because the line may queue"
    assert answer == Closed(at("2026-11-24T09:00+01:00"), why)
    # And a margin of nothing lets calls leave to the last moment
    assert window(hours, ("Europe/Berlin",), closes - 0.001, 0.0) == Open()


def test_where_zones_close_at_different_times_the_earliest_one_counts() -> None:
    both = ("America/New_York", "Europe/Berlin")
    assert window(Hours(windows=OFFICE), both, at("2026-11-23T11:56-05:00"), 300.0) == Closed(
        at("2026-11-24T09:00-05:00"),
        "outside calling hours: closes at 12:00 America/New_York, stops 5m before because the line may queue",
    )


def test_a_window_shorter_than_the_margin_never_opens_and_says_so() -> None:
    minute = (Window.model_validate({"from": "09:00", "to": "09:01"}),)
    why = "no common calling window is longer than the 1m for which the line may queue; see queue_margin"
    assert window(Hours(windows=minute, zone="UTC"), (), MONDAY, margin=60.0) == Closed(None, why)


def test_a_provider_that_dials_again_for_nobody_knows_how_long_never_rings_where_there_are_hours() -> None:
    answer = window(Hours(windows=OFFICE, zone="UTC"), (), MONDAY + 12 * 3600.0, inf)
    assert isinstance(answer, Closed)
    assert answer.opens_at is None
    assert answer.reason.startswith("no common calling window: the line's provider dials again by itself")
    assert "queue_margin" in answer.reason
    assert window(None, (), MONDAY, inf) == Open()


def test_a_holiday_and_a_blackout_close_the_whole_day_of_every_zone() -> None:
    for closed in ({"holidays": (date(2026, 11, 23),)}, {"blackout": (date(2026, 11, 23),)}):
        answer = window(Hours(windows=OFFICE, zone="UTC", **closed), (), MONDAY + 12 * 3600.0)  # type: ignore[arg-type]
        assert answer == Closed(at("2026-11-24T09:00Z"), "outside calling hours")
        alone = window(Hours(zone="UTC", **closed), (), MONDAY + 12 * 3600.0)  # type: ignore[arg-type]
        assert alone == Closed(at("2026-11-24T00:00Z"), "outside calling hours")


def test_windows_that_touch_are_one() -> None:
    halves = tuple(Window.model_validate({"from": a, "to": b}) for a, b in (("09:00", "13:00"), ("13:00", "18:00")))
    assert isinstance(window(Hours(windows=halves, zone="UTC"), (), at("2026-11-23T12:59:59Z")), Open)
