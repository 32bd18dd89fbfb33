"""The numbers of a pace: what may be late, and that the limit then still holds."""

from math import floor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.policies.pacing import (
    COUNTED_FROM,
    FENCEPOST_BELOW,
    MOST_LATE,
    SECOND,
    aimed,
    lateness_allowed,
    lateness_between_steps,
    spacing,
)

any_limit = st.floats(0.1, 5000.0) | st.integers(1, 5000).map(float)


@settings(max_examples=150)
@given(limit=any_limit, phase=st.floats(0.0, 1.0))
@example(limit=1.75, phase=0.0)
@example(limit=99.9, phase=0.0)
@example(limit=100.0, phase=0.0)
def test_with_even_starts_as_late_as_is_allowed_the_limit_still_holds(limit: float, phase: float) -> None:
    late = lateness_between_steps(limit)
    assert 0.0 < late <= MOST_LATE
    step = 1.0 / aimed(limit)
    # Given the worst second: those that start before it leave as late as they may, into it; the others at once
    first = -late + phase * step
    inside = floor((1.0 - first) / step) + 1
    assert inside <= floor(limit) + (1 if limit < FENCEPOST_BELOW else 0)


@settings(max_examples=150)
@given(limit=any_limit)
@example(limit=102.6)
def test_a_full_second_stays_under_the_limit_and_is_as_good_as_it(limit: float) -> None:
    apart, quick_line = spacing(limit), limit >= COUNTED_FROM
    spared = 3 if limit >= FENCEPOST_BELOW else 0 if quick_line else -1
    assert apart.most <= floor(limit) - spared
    assert apart.most >= 0.96 * (floor(limit) if quick_line else limit)
    assert SECOND / apart.step <= aimed(limit)
    # And only a quick line, whose calls are counted where they left, may be late beyond what steps allow, and catch up
    assert (apart.quick < apart.step) == (apart.late > 0) == quick_line
    assert lateness_allowed(limit) == (MOST_LATE if quick_line else lateness_between_steps(limit))


@pytest.mark.parametrize(
    ("limit", "most"),
    [(1.75, 2), (2.0, 2), (9.9, 10), (10.0, 10), (50.0, 49), (100.0, 97), (102.6, 99), (500.0, 495), (1000.0, 990)],
)
def test_how_many_a_full_second_holds(limit: float, most: int) -> None:
    assert spacing(limit).most == most
