"""Every gate closes by itself, the strictest answers, and what cannot be told is a no."""

from datetime import datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.plan import Caps, Hours, Plan, Window
from campaign.policies.gates import DAY, LIVE_ELSEWHERE, PASS, RECHECK_UNKNOWN, Facts, Gate, Skip, Wait, gate
from campaign.policies.zones import zones_of

NOON = datetime.fromisoformat("2026-11-23T12:00+01:00").timestamp()
NIGHT = datetime.fromisoformat("2026-11-23T23:00+01:00").timestamp()
BERLIN = "+493012345678"
NOBODY_KNOWS = "+881612345678"  # a satellite
OFFICE = Hours(windows=(Window.model_validate({"from": "09:00", "to": "18:00"}),))
PLAN = Plan(hours=OFFICE, caps=Caps(per_day=2))


def test_nothing_against_it_is_a_pass() -> None:
    assert gate(BERLIN, PLAN, Facts(), NOON) == PASS
    assert gate(NOBODY_KNOWS, Plan(), Facts(), NIGHT) == PASS


@pytest.mark.parametrize(("facts", "now", "answer"), [
    (Facts(listed=True), NOON, Skip("do not call")),
    (Facts(live_elsewhere=True), NOON, Wait(NOON + LIVE_ELSEWHERE, "another call to this number is live")),
    (Facts(), NIGHT, Wait(NIGHT + 10 * 3600.0, "outside calling hours")),
    (Facts(recent=(NOON - 100.0, NOON - 50.0)), NOON, Wait(NOON - 100.0 + DAY, "already called 2 times in 24 hours")),
])  # fmt: skip
def test_each_gate_closes_by_itself(facts: Facts, now: float, answer: Gate) -> None:
    assert gate(BERLIN, PLAN, facts, now) == answer


def test_the_gate_stops_earlier_on_a_line_that_may_queue() -> None:
    # Given four minutes to closing, When the line rings at once, and when it may hold a call for five
    late = datetime.fromisoformat("2026-11-23T17:56+01:00").timestamp()
    assert gate(BERLIN, PLAN, Facts(), late) == PASS
    answer = gate(BERLIN, PLAN, Facts(), late, 300.0)
    assert isinstance(answer, Wait)
    assert answer.due_at == datetime.fromisoformat("2026-11-24T09:00+01:00").timestamp()
    assert "stops 5m before" in answer.reason


def test_a_line_without_a_known_margin_is_asked_again_and_rings_only_without_hours() -> None:
    answer = gate(BERLIN, PLAN, Facts(), NOON, inf)
    assert isinstance(answer, Wait)
    assert answer.due_at == NOON + RECHECK_UNKNOWN
    assert gate(BERLIN, Plan(), Facts(), NOON, inf) == PASS


def test_a_number_of_no_known_zone_is_not_called_where_hours_are_set_and_is_looked_at_again() -> None:
    assert zones_of(NOBODY_KNOWS) == ()
    assert gate(NOBODY_KNOWS, PLAN, Facts(), NOON) == Wait(NOON + RECHECK_UNKNOWN, "time zone unknown")


def test_a_number_that_may_be_in_several_zones_waits_for_all_of_them() -> None:
    # Given an area code that spans half a continent, When only the eastern part has opened
    phone = "+61812345678"
    assert {"Australia/Adelaide", "Australia/Perth"} <= set(zones_of(phone))
    ten_in_the_east = datetime.fromisoformat("2026-11-23T10:00+10:30").timestamp()
    assert isinstance(gate(phone, PLAN, Facts(), ten_in_the_east), Wait)


@given(listed=st.booleans(), live=st.booleans(), now=st.sampled_from([NOON, NIGHT]),
       ago=st.lists(st.floats(0.0, 2 * DAY), max_size=4),
       phone=st.sampled_from([BERLIN, NOBODY_KNOWS, "+15005550006", "+99", "+"]))  # fmt: skip
def test_a_pass_needs_every_gate_and_a_wait_always_has_a_later_time(
    listed: bool, live: bool, now: float, ago: list[float], phone: str
) -> None:
    answer = gate(phone, PLAN, Facts(listed, live, tuple(now - a for a in ago)), now)
    if answer == PASS:
        assert not listed
        assert not live
        assert sum(1 for a in ago if a < DAY) < 2
    elif isinstance(answer, Wait):
        assert answer.due_at > now
        assert answer.reason
    else:
        assert listed


@given(ago=st.lists(st.floats(1.0, 2 * DAY), max_size=6), limit=st.integers(1, 3))
def test_after_the_wait_the_cap_holds_in_every_24_hours(ago: list[float], limit: int) -> None:
    plan = Plan(caps=Caps(per_day=limit))
    sends = tuple(NOON - a for a in ago)
    answer = gate(BERLIN, plan, Facts(recent=sends), NOON)
    when = answer.due_at if isinstance(answer, Wait) else NOON
    assert sum(1 for at in sends if at > when - DAY) < limit
    assert not isinstance(answer, Wait) or sum(1 for at in sends if at > when - 0.001 - DAY) >= limit
