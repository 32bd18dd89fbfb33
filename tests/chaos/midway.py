"""A campaign of some numbers at a calm pace, caught in the middle by a fault that lasts, and what must come of it."""

import time

from campaign.domain.plan import Plan
from tests.chaos.lab import LINE, Lab
from tests.chaos.processes import Child
from tests.chaos.verdict import judge
from tests.engine import add_campaign, numbers

PLAN = Plan(retry={})
CALM = {"calls_per_second": 20.0, "timeout": "5s"}
MANY = 140


def dialling(here: Lab) -> Child:
    """A worker in the middle of a campaign."""
    add_campaign(here.store, numbers(MANY), line=LINE, plan=PLAN)
    worker = here.worker("worker", 2)
    here.beat()
    assert here.wait(lambda: here.simulator.ledger().placed >= 20), here.logs()
    return worker


def quiet(here: Lab, within: float = 30.0) -> bool:
    """Nothing arrives at the provider for two seconds any more, though some are left to dial."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        before = here.simulator.ledger().requests
        time.sleep(2.0)
        if here.simulator.ledger().requests == before:
            return before < MANY - 5
    return False


def ends_well(here: Lab) -> None:
    """By itself, and with the ledger's word for it."""
    assert here.wait(here.completed), f"{here.target_states()} {here.states()} {here.logs()}"
    verdict = judge(here.store, here.simulator.ledger("calls"))
    assert verdict.clean, verdict.evidence()
    assert verdict.rings == MANY
