"""What people and providers do to a campaign while it runs, on two workers and two beats."""

import time

import pytest

from campaign.domain.plan import Pace, Plan
from campaign.domain.states import CampaignState, TargetState
from campaign.services import campaigns, do_not_call, retry_batches
from tests.engine import add_campaign
from tests.scenarios.checks import calls_of, check
from tests.scenarios.kit import Stage, arrivals, phones

pytestmark = pytest.mark.slow

ONCE = Plan(retry={})
STOPS_WITHIN = 1.0
"""Seconds after which nothing leaves any more that a pause or an opt-out forbids: what was committed before."""


def test_somebody_elses_call_on_a_number_costs_no_attempt(engine: Stage) -> None:
    # Given twenty numbers, of which others hold five
    numbers = phones(1, 20)
    held = "/".join(numbers[:5])
    fault = engine.simulator.add_fault(f"conflict,account=conflict,numbers={held}")
    # When they are dialled, and those five let go once they were asked for again and again
    plan = Plan(retry={}, conflict_interval=1.0)
    add_campaign(engine.store, numbers, name="conflict", line="conflict", plan=plan)
    engine.wait(lambda: engine.summary("conflict")["attempts"]["conflicts"] >= 10)
    engine.simulator.remove_fault(fault)
    engine.wait_completed("conflict")
    # Then each of the twenty rang once, and the five paid nothing for being asked again
    assert check(engine, "conflict", "conflict", plan, exported=False) == 20


def test_pause_resume_and_cancel(engine: Stage) -> None:
    # Given a campaign under way
    add_campaign(engine.store, phones(2, 300), name="paused", line="paused", plan=ONCE)
    engine.wait(lambda: len(arrivals(engine, "paused")) >= 10)
    # When it is paused
    campaigns.pause(engine.store, "paused")
    paused_at = time.time()
    time.sleep(STOPS_WITHIN + 1.5)
    during = arrivals(engine, "paused")
    # Then nothing more leaves
    assert max(during) < paused_at + STOPS_WITHIN
    # When it is resumed, it goes on
    campaigns.resume(engine.store, "paused")
    engine.wait(lambda: len(arrivals(engine, "paused")) >= len(during) + 10)
    # When it is canceled, nothing more leaves, and what waited is skipped
    campaigns.cancel(engine.store, "paused")
    canceled_at = time.time()
    engine.wait(lambda: not _unfinished(engine, "paused"))
    rung = arrivals(engine, "paused")
    assert max(rung) < canceled_at + STOPS_WITHIN
    states = [target["state"] for target in engine.rows("paused")[0]]
    assert states.count(TargetState.DONE) == len(rung)
    assert states.count(TargetState.SKIPPED) == 300 - len(rung)
    assert engine.state("paused") is CampaignState.CANCELED


def _unfinished(engine: Stage, name: str) -> bool:
    targets, attempts = engine.rows(name)
    live = [row for row in attempts if row["state"] in ("claimed", "sending", "placed", "unconfirmed")]
    return bool(live) or any(t["state"] in (TargetState.WAITING, TargetState.CALLING) for t in targets)


def test_who_opts_out_meanwhile_is_not_rung(engine: Stage) -> None:
    # Given a campaign under way
    numbers = phones(3, 120)
    add_campaign(engine.store, numbers, name="listed", line="listed", plan=ONCE)
    engine.wait(lambda: len(arrivals(engine, "listed")) >= 10)
    # When every second number opts out
    out = set(numbers[::2])
    do_not_call.add(engine.store, sorted(out), "asked us")
    at = time.time()
    engine.wait_completed("listed")
    # Then none of them rings from then on, and all others do
    calls = calls_of(engine, "listed")
    assert all(call.accepted_at < at + STOPS_WITHIN for number in out for call in calls.get(number, ()))
    assert set(numbers) - out <= set(calls)
    assert len(out & set(calls)) < len(out), "all were rung before: the test shows nothing"
    skipped = {t["phone"] for t in engine.rows("listed")[0] if t["state"] == TargetState.SKIPPED}
    assert skipped == out - set(calls)


def test_a_retry_batch_fires_once_with_two_beats(engine: Stage) -> None:
    # Given a campaign that ended busy throughout
    engine.simulator.add_fault("outcome,outcome=busy,account=again")
    numbers = phones(4, 25)
    add_campaign(engine.store, numbers, name="again", line="again", plan=ONCE)
    engine.wait_completed("again")
    # When a retry batch is due at the next tick of two beats
    retry_batches.plan_batch(engine.store, "again", ["busy"])
    engine.wait(lambda: sum(map(len, calls_of(engine, "again").values())) >= 50)
    time.sleep(2.5)
    # Then each number rang once more, and no more
    assert {number: len(calls) for number, calls in calls_of(engine, "again").items()} == dict.fromkeys(numbers, 2)
    (batch,) = retry_batches.list_batches(engine.store, "again")
    assert [fire.targets for fire in batch.fires] == [25]
    assert batch.next_fire_at is None


def test_two_campaigns_share_a_line_by_weight(engine: Stage) -> None:
    # Given two campaigns on one line, one of three times the weight
    heavy, light = set(phones(5, 400)), set(phones(6, 400))
    add_campaign(engine.store, sorted(light), name="light", line="shared", plan=ONCE)
    add_campaign(engine.store, sorted(heavy), name="heavy", line="shared", plan=Plan(retry={}, pace=Pace(weight=3.0)))
    # When they are dialled for a while
    engine.wait(lambda: len(arrivals(engine, "shared")) >= 160)
    campaigns.cancel(engine.store, "light")
    campaigns.cancel(engine.store, "heavy")
    # Then three calls in four were the heavy one's
    calls = calls_of(engine, "shared")
    share = len(heavy & set(calls)) / len(calls)
    assert 0.65 <= share <= 0.85, share
