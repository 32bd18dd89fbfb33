"""A line's silence, slowness and breaker."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.policies.line_health import (
    FAILURES_TO_BREAK,
    FIRST_BREAK,
    LONGEST_BREAK,
    LONGEST_SILENCE,
    PROBE_LEASE,
    RECOVERY_EVERY,
    SLOWEST,
    Signal,
    SignalKind,
    after_signals,
    allow,
    may_send,
)

OK = Signal(SignalKind.OK)
FAILED = Signal(SignalKind.FAILED, "no connection")
THROTTLED = Signal(SignalKind.THROTTLED, "slow down", 60.0)
NOW = 1_795_000_000.0

signals = st.builds(
    Signal, st.sampled_from(SignalKind), st.just("because"), st.none() | st.floats(0.0, 1e7)
)  # fmt: skip
healths = st.builds(
    LineHealth,
    state=st.sampled_from(LineState),
    not_before=st.sampled_from([0.0, NOW - 10.0, NOW + 10.0, NOW + 3000.0]),
    pace_factor=st.floats(SLOWEST, 1.0),
    failures=st.integers(0, 8),
    trips=st.integers(0, 12),
    changed_at=st.sampled_from([0.0, NOW - 0.5, NOW - 100.0]),
)


def broken(times: int = FAILURES_TO_BREAK, now: float = NOW) -> LineHealth:
    return after_signals(LineHealth(), [FAILED] * times, now)


# --- the breaker


def test_it_opens_after_five_failures_in_a_row_and_not_before() -> None:
    assert broken(FAILURES_TO_BREAK - 1).state is LineState.OPEN
    health = broken()
    assert (health.state, health.not_before) == (LineState.BROKEN, NOW + FIRST_BREAK)
    assert "no connection" in (health.why or "")
    interrupted = after_signals(LineHealth(), [FAILED] * 4 + [OK] + [FAILED] * 4, NOW)
    assert interrupted.state is LineState.OPEN


def test_one_probe_and_nobody_else() -> None:
    # Given a broken line whose time has come, When two workers claim
    health = broken()
    assert allow(health, 50, NOW).calls == 0
    later = health.not_before
    first = allow(health, 50, later)
    second = allow(first.health, 50, later + 0.001)
    # Then one of them may send one call
    assert (first.calls, first.probe, second.calls) == (1, True, 0)
    assert may_send(first.health, True, later)
    assert not may_send(first.health, False, later)
    # And if the prober dies, somebody probes again
    assert allow(first.health, 50, later + PROBE_LEASE).calls == 1


def test_a_probe_given_back_unsent_makes_room_for_another_at_once() -> None:
    # Given a line that is being probed, When the probe is given back
    later = broken().not_before
    probing = allow(broken(), 50, later).health
    untried = after_signals(probing, [Signal(SignalKind.UNTRIED)], later + 1.0)
    # Then one other call may be the probe, and the next wait is no longer for it
    again = allow(untried, 50, later + 1.0)
    assert (again.calls, again.probe, untried.trips) == (1, True, broken().trips)
    # And a line that is not being probed does not care
    assert after_signals(LineHealth(), [Signal(SignalKind.UNTRIED)], NOW) == LineHealth()


def test_a_probe_that_fails_doubles_the_wait_up_to_a_bound() -> None:
    health, now, waits = broken(), NOW, []
    for _ in range(9):
        waits.append(health.not_before - now)
        now = health.not_before
        health = after_signals(allow(health, 1, now).health, [FAILED], now)
    assert waits == [min(FIRST_BREAK * 2.0**n, LONGEST_BREAK) for n in range(9)]


def test_a_probe_that_succeeds_lets_a_quarter_through_and_climbs() -> None:
    now = broken().not_before
    health = after_signals(allow(broken(), 1, now).health, [OK], now)
    assert (health.state, health.pace_factor, health.trips) == (LineState.SLOWED, 0.25, 0)
    climbed = []
    while health.state is LineState.SLOWED:
        now += RECOVERY_EVERY
        health = after_signals(health, [OK] * 10, now)
        climbed.append(round(health.pace_factor, 2))
    assert climbed == [0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0]
    assert health.why is None


# --- the provider's word


@pytest.mark.parametrize(("said", "silent"), [(60.0, 60.0), (None, 1.0), (1e9, LONGEST_SILENCE), (0.0, 0.0)])
def test_silence_as_long_as_the_provider_says_then_half_the_pace(said: float | None, silent: float) -> None:
    health = after_signals(LineHealth(), [Signal(SignalKind.THROTTLED, "slow down", said)], NOW)
    assert (health.state, health.not_before, health.pace_factor) == (LineState.SILENT, NOW + silent, 0.5)
    assert silent == 0.0 or allow(health, 5, NOW + silent - 0.001).calls == 0
    after = allow(health, 5, NOW + silent)
    assert (after.calls, after.health.state, after.probe) == (5, LineState.SLOWED, False)


def test_a_burst_of_refusals_in_one_batch_halves_once() -> None:
    assert after_signals(LineHealth(), [THROTTLED] * 20, NOW).pace_factor == 0.5


def test_refusals_again_and_again_slow_it_down_to_a_bound() -> None:
    health = LineHealth()
    for n in range(20):
        health = after_signals(health, [THROTTLED], NOW + n)
    assert health.pace_factor == SLOWEST


def test_answers_to_what_was_in_the_air_do_not_end_a_silence() -> None:
    health = after_signals(LineHealth(), [THROTTLED, OK, OK], NOW)
    assert allow(health, 5, NOW + 59.0).calls == 0


def test_failures_during_a_silence_do_not_shorten_it() -> None:
    # Given an hour of silence, When what was in the air fails and the breaker opens, or closes again
    hour = after_signals(LineHealth(), [Signal(SignalKind.THROTTLED, "", 3600.0)], NOW)
    for met in ([FAILED] * 5, [FAILED] * 5 + [OK], [FAILED] * 5 + [Signal(SignalKind.NOT_READY)]):
        health = after_signals(hour, met, NOW + 1.0)
        # Then the hour stands
        assert allow(health, 5, NOW + 3599.0).calls == 0
        assert not may_send(health, False, NOW + 3599.0)
        assert allow(health, 5, NOW + 3600.0).calls > 0


def test_a_line_that_is_not_ready_keeps_its_pace() -> None:
    health = after_signals(LineHealth(), [Signal(SignalKind.NOT_READY, "nobody home")], NOW)
    assert (health.state, health.pace_factor) == (LineState.SILENT, 1.0)
    assert allow(health, 5, health.not_before).health.state is LineState.OPEN


# --- whatever comes


@settings(max_examples=150)
@given(health=healths, met=st.lists(signals, max_size=12), wanted=st.integers(0, 100))
def test_no_story_leads_to_a_line_that_is_stuck_or_too_fast(health: LineHealth, met: list[Signal], wanted: int) -> None:
    after = after_signals(health, met, NOW)
    assert SLOWEST <= after.pace_factor <= 1.0
    longest = max(LONGEST_SILENCE, LONGEST_BREAK, PROBE_LEASE, health.not_before - NOW)
    assert after.not_before <= NOW + longest
    said = [s.retry_after for s in met if s.kind is SignalKind.THROTTLED and s.retry_after is not None]
    if said:
        assert after.not_before >= NOW + min(max(said), LONGEST_SILENCE) - 1e-3
    now = NOW
    allowance = allow(after, wanted, now)
    if now < after.not_before:
        assert allowance.calls == 0
    assert 0 <= allowance.calls <= wanted
    assert allow(after, max(wanted, 1), NOW + longest).calls >= 1


@settings(max_examples=200)
@given(health=healths, met=st.lists(signals, min_size=1, max_size=12))
def test_what_may_not_be_claimed_may_not_be_sent(health: LineHealth, met: list[Signal]) -> None:
    after = after_signals(health, met, NOW)
    if allow(after, 1, NOW).calls == 0 and after.state is not LineState.PROBING:
        assert not may_send(after, False, NOW)
