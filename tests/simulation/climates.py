"""Worlds made harsher in one way, so that a rare fault is met soon. The right protocol lives in them, too."""

from dataclasses import replace

from campaign.domain.line import PollSchedule
from campaign.policies.hours import AT_ONCE
from tests.simulation.scenario import CLOSES_AT, IMPATIENT, LONGEST_QUEUE, OFFICE_HOURS, Scenario

PATIENT = PollSchedule(first_after=20.0, every=15.0, at_most_every=300.0, give_up_after=7200.0)


def lossy(scenario: Scenario) -> Scenario:
    """COMMITs whose answer is lost, lists that may be asked."""
    rules = replace(scenario.rules, can_find=True, conflict_proves=False)
    return replace(scenario, level=2 + scenario.level % 2, rules=rules, lose_commit=0.5, faults=0.9, left_out=0.8)


def hasty(scenario: Scenario) -> Scenario:
    """Two campaigns dial the same numbers again while the provider still has them, and record its answers too late."""
    rules = replace(scenario.rules, can_find=False, conflict_proves=True)
    return replace(
        scenario,
        level=1,
        rules=rules,
        plans=(scenario.plans[0],) * 2,
        numbers=(scenario.numbers[0],) * 2,
        lines=("one",),
        faults=0.8,
        haste=1.0,
        brief=0.0,
        risk=0.15,
        queue=0.0,
        margin=AT_ONCE,
        freezes=(45.0, 100.0),
    )


def sluggish(scenario: Scenario) -> Scenario:
    """Settle answers minutes later, when another attempt of the target is in doubt."""
    rules = replace(scenario.rules, can_find=True, conflict_proves=False)
    return replace(scenario, level=2 + scenario.level % 2, rules=rules, faults=0.9, slow_looks=0.7, haste=0.0)


def abrupt(scenario: Scenario) -> Scenario:
    """Calls are over at once and tried again at once, so two calls to a number lie close together in the list."""
    plans = tuple(plan.model_copy(update={"retry": IMPATIENT, "max_attempts": 3}) for plan in scenario.plans)
    rules = replace(scenario.rules, can_find=True, conflict_proves=False)
    return replace(scenario, level=2, rules=rules, plans=plans, brief=1.0, faults=0.6, haste=0.0, slow_looks=0.0)


def closing(scenario: Scenario) -> Scenario:
    """The last minute before closing."""
    return replace(
        scenario,
        start=CLOSES_AT - 35.0,
        storm_ends=CLOSES_AT + 600.0,
        plans=(OFFICE_HOURS,) * len(scenario.plans),
        faults=0.7,
        queue=0.0,
        margin=AT_ONCE,
    )


def queueing(scenario: Scenario) -> Scenario:
    """The last half hour before closing, at a provider that holds calls for up to ten minutes."""
    return replace(
        scenario,
        start=CLOSES_AT - 1800.0,
        storm_ends=CLOSES_AT + 600.0,
        plans=(OFFICE_HOURS,) * len(scenario.plans),
        queue=LONGEST_QUEUE,
        margin=LONGEST_QUEUE + AT_ONCE,
    )


def overflowing(scenario: Scenario) -> Scenario:
    """On a calm evening the provider holds calls for longer than anybody thought; at least it takes them back."""
    return replace(
        queueing(scenario),
        storm_ends=CLOSES_AT - 1800.0,
        level=3,
        rules=replace(scenario.rules, poll=PATIENT, can_find=True, conflict_proves=False),
        queue=4 * LONGEST_QUEUE,
        cancels=True,
        margin=AT_ONCE,
        flaky=0.0,
    )
