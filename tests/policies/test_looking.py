"""When somebody looks again: always, never after it gives up, and at the moment from which an absence counts."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.line import PollSchedule
from campaign.policies.looking import (
    LookRules,
    conflict_proves_within,
    doubt_gives_up_at,
    first_doubt_look,
    first_result_look,
    next_doubt_look,
    next_result_look,
)
from tests.policies.rows import NOW, rules

looks = st.integers(0, 10_000)
waits = st.floats(0.0, 20_000.0)


def test_absence_counts_after_lease_request_lag_and_grace() -> None:
    look = LookRules(request_timeout=20.0, list_lag=60.0, grace=300.0)
    assert look.lease == 35.0
    assert look.absence_counts_after == 35.0 + 20.0 + 60.0 + 300.0


@given(st.floats(0.1, 600.0), st.floats(0.0, 4000.0))
def test_a_lease_outlives_its_request(timeout: float, grace: float) -> None:
    look = LookRules(request_timeout=timeout, grace=grace)
    assert look.lease > timeout + 1.5  # what a worker may take from its commit to the first byte
    assert look.absence_counts_after > look.lease + timeout


@given(look=rules, seen=looks, until_give_up=waits)
def test_the_next_look_is_never_late_and_never_now(look: LookRules, seen: int, until_give_up: float) -> None:
    give_up_at = NOW + until_give_up
    result = next_result_look(look, seen, give_up_at, NOW)
    doubt = next_doubt_look(look, NOW - 100.0, seen, give_up_at, NOW)
    for when in (result, doubt, first_doubt_look(look, NOW, give_up_at)):
        assert NOW <= when <= give_up_at
    assert result == give_up_at or result - NOW >= min(look.poll.every, look.poll.at_most_every)
    assert doubt == give_up_at or doubt >= NOW + 1.0 or doubt == NOW - 100.0 + look.absence_counts_after


def test_the_waits_grow_by_half_up_to_the_bound() -> None:
    look = LookRules(poll=PollSchedule(every=10.0, at_most_every=30.0))
    assert [next_result_look(look, n, NOW + 1e6, NOW) - NOW for n in range(4)] == [10.0, 15.0, 22.5, 30.0]


def test_a_doubt_is_looked_at_in_the_moment_from_which_an_absence_counts() -> None:
    look, now, moments = LookRules(looks_after=60.0), NOW, list[float]()
    for seen in range(20):
        now = next_doubt_look(look, NOW, seen, NOW + 1e6, now)
        moments.append(now - NOW)
    assert look.absence_counts_after in moments
    assert all(later - sooner <= look.poll.at_most_every for sooner, later in pairwise(moments))


def test_where_nobody_can_be_asked_it_is_looked_at_when_its_time_is_over() -> None:
    deaf = LookRules(can_ask=False, can_find=False)
    assert first_result_look(deaf, NOW) == NOW + deaf.poll.give_up_after
    assert next_result_look(deaf, 0, NOW + 5.0, NOW) == NOW + 5.0
    assert first_doubt_look(deaf, NOW, NOW + 5.0) == NOW + 5.0
    assert next_doubt_look(deaf, NOW, 0, NOW + 5.0, NOW) == NOW + 5.0


@given(look=rules)
def test_a_doubt_outlives_the_longest_call_and_the_proof_of_its_absence(look: LookRules) -> None:
    lasts = doubt_gives_up_at(look, NOW) - NOW
    assert lasts >= look.poll.give_up_after
    assert lasts > look.absence_counts_after + look.lease
    assert conflict_proves_within(look) >= look.poll.give_up_after
