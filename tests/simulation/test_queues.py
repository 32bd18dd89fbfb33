"""Small worlds just before closing time, at providers that hold calls for a while before they ring."""

import pytest

from tests.simulation.climates import overflowing, queueing
from tests.simulation.run import run_seed

pytestmark = pytest.mark.slow


def test_no_call_rings_after_closing_that_its_provider_held_for_up_to_ten_minutes() -> None:
    # Given worlds half an hour before closing, at a provider that queues
    outcomes = [run_seed(seed, climate=queueing) for seed in range(150)]
    # Then every call that left rang while its window was open, and many had left
    assert [(each.seed, each.violation) for each in outcomes if each.violation is not None] == []
    assert sum(each.seen["rings from a queue"] for each in outcomes) > 3 * len(outcomes)


def test_what_its_provider_holds_too_long_is_taken_back_before_closing_and_costs_no_attempt() -> None:
    # Given calm worlds at a provider that holds calls longer than anybody allowed for, and can cancel
    outcomes = [run_seed(seed, climate=overflowing) for seed in range(15)]
    # Then nothing rings after closing all the same, since calls are taken back
    assert [(each.seed, each.violation) for each in outcomes if each.violation is not None] == []
    assert sum(each.seen["withdrawn"] for each in outcomes) > len(outcomes)
