"""What becomes of a target when an attempt ended: every disposition, every rule, every cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.plan import OnUnknown, Plan
from campaign.policies.retry import Again, Done, Hold, after_attempt

END = 1_795_000_000.0
PLAN = Plan(max_attempts=4, retry={Disposition.NO_ANSWER: (900.0, 3600.0), Disposition.BUSY: (300.0,)})


@pytest.mark.parametrize("disposition", Disposition)
def test_every_disposition_has_an_answer_with_a_reason(disposition: Disposition) -> None:
    answer = after_attempt(PLAN, disposition, 1, {disposition: 1}, END)
    assert answer.reason
    if disposition in NEVER_RETRIED:
        assert isinstance(answer, Done)


def test_the_delays_of_a_rule_are_used_in_turn_from_the_end_of_the_call() -> None:
    found = [after_attempt(PLAN, Disposition.NO_ANSWER, n, {Disposition.NO_ANSWER: n}, END) for n in (1, 2, 3)]
    assert [a.due_at - END for a in found if isinstance(a, Again)] == [900.0, 3600.0]
    assert found[2] == Done("no_answer; its 2 retries are used")


def test_the_cap_on_attempts_stands_above_every_rule() -> None:
    assert isinstance(after_attempt(PLAN, Disposition.BUSY, 3, {Disposition.BUSY: 1}, END), Again)
    assert after_attempt(PLAN, Disposition.BUSY, 4, {Disposition.BUSY: 1}, END) == Done("busy; all 4 attempts are used")


@pytest.mark.parametrize(("on_unknown", "kind"), [
    (OnUnknown.HOLD, Hold), (OnUnknown.DONE, Done), (OnUnknown.RETRY, Again)])  # fmt: skip
def test_unknown_is_what_the_plan_says(on_unknown: OnUnknown, kind: type) -> None:
    assert isinstance(after_attempt(Plan(on_unknown=on_unknown), Disposition.UNKNOWN, 1, {}, END), kind)


def test_unknown_is_retried_by_the_rule_for_error_and_within_the_cap() -> None:
    plan = Plan(on_unknown=OnUnknown.RETRY, max_attempts=3, retry={Disposition.ERROR: (60.0, 120.0)})
    answers = [after_attempt(plan, Disposition.UNKNOWN, n, {Disposition.UNKNOWN: n}, END) for n in (1, 2, 3)]
    assert [a.due_at - END for a in answers if isinstance(a, Again)] == [60.0, 120.0]
    assert isinstance(answers[2], Done)


@given(st.lists(st.sampled_from(Disposition), max_size=30), st.integers(1, 6), st.sampled_from(OnUnknown))
def test_no_story_leads_to_more_rings_than_the_cap(story: list[Disposition], most: int, on_unknown: OnUnknown) -> None:
    plan, tally, rings = Plan(max_attempts=most, on_unknown=on_unknown), dict[str, int](), 0
    for disposition in story:
        rings += 1
        tally[disposition] = tally.get(disposition, 0) + 1
        if not isinstance(after_attempt(plan, disposition, rings, tally, END), Again):
            break
    assert rings <= most or rings <= 1
