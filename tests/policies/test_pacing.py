"""The numbers of a pace: what may be late, and that the limit then still holds."""

from math import floor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from campaign.policies.pacing import FENCEPOST_BELOW, MOST_LATE, SECOND, aimed, lateness_allowed, spacing, too_late

any_limit = st.floats(0.1, 5000.0) | st.integers(1, 5000).map(float)


@settings(max_examples=300)
@given(limit=any_limit, phase=st.floats(0.0, 1.0))
@example(limit=1.75, phase=0.0)
@example(limit=99.9, phase=0.0)
@example(limit=100.0, phase=0.0)
def test_with_even_starts_as_late_as_is_allowed_the_limit_still_holds(limit: float, phase: float) -> None:
    late = lateness_allowed(limit)
    assert 0.0 < late <= MOST_LATE
    step = 1.0 / aimed(limit)
    # Given the worst second: those that start before it leave as late as they may, into it; the others at once
    first = -late + phase * step
    inside = floor((1.0 - first) / step) + 1
    assert inside <= floor(limit) + (1 if limit < FENCEPOST_BELOW else 0)


@settings(max_examples=300)
@given(limit=any_limit)
@example(limit=102.6)
def test_a_full_second_and_those_late_before_it_stay_within_the_limit(limit: float) -> None:
    # Given a second as full as may be, and starts before it as close as may be, each as late as may pass unnoticed
    apart = spacing(limit)
    closest = 1 / apart.quick + (1 / apart.in_place if apart.in_place else 0.0)
    before = floor(too_late(limit) * SECOND * closest) + 1
    assert apart.most + before <= floor(limit) + (2 if limit < FENCEPOST_BELOW else 0)
    # And what is aimed at is as good as the limit
    assert apart.most >= 0.96 * limit
    assert SECOND / apart.step <= aimed(limit)
    assert (apart.quick < apart.step) == (limit >= FENCEPOST_BELOW)


@pytest.mark.parametrize(
    ("limit", "most"), [(2.0, 2), (50.0, 49), (100.0, 97), (102.6, 99), (500.0, 487), (1000.0, 975)]
)
def test_how_many_a_full_second_holds(limit: float, most: int) -> None:
    assert spacing(limit).most == most
