"""A call that waits in its provider's queue is taken back when its number may not ring any more."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import insert, select

from campaign.domain.calls import CallReport, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.domain.plan import Hours, Plan, Window
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.services.dialing import Dialer
from campaign.services.tracking import Tracker
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, do_not_call, events, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, dial_once, numbers, outside

[A] = numbers(1)
CLOSES = datetime.fromisoformat("2026-11-20T18:00Z").timestamp()
OFFICE = Hours(zone="UTC", windows=(Window.model_validate({"from": "09:00", "to": "18:00"}),))
SCHEDULE = PollSchedule(first_after=10.0, every=10.0, at_most_every=300.0, give_up_after=7200.0)
RULES = {LINE.name: LookRules(poll=SCHEDULE)}
UNHEEDING = LINE.model_copy(update={"queue_margin": 0.0, "timeout": 5.0, "poll": SCHEDULE})
"""Its operator thinks that nothing waits; a look reaches twenty seconds ahead."""

QUEUED = CallReport(ReportStatus.PENDING, raw="queued", rang=False)
RINGING = CallReport(ReportStatus.PENDING, raw="ringing", rang=True)
CANCELED = CallReport(ReportStatus.FINAL, disposition=Disposition.CANCELED, raw="canceled", rang=False)


class Queueing(ScriptedProvider):
    """Holds every call until the test says otherwise, and takes it back where ``gives_in``."""

    capabilities = Capabilities(poll=True, cancel=True, poll_batch=10)

    def __init__(self) -> None:
        super().__init__()
        self.shows = QUEUED
        self.after_a_cancel = CANCELED
        self.gives_in = True
        self.canceled: list[str] = []

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        return [replace(self.shows, attempt_id=call.attempt_id) for call in calls]

    async def cancel(self, call: RememberedCall) -> bool:
        self.canceled.append(call.phone)
        self.shows = self.after_a_cancel
        return self.gives_in


class Deaf(Queueing):
    capabilities = Capabilities(poll=True)


def dial(store: Store, provider: ScriptedProvider) -> list[str]:
    asyncio.run(dial_once(Dialer(UNHEEDING, provider, outside(store, RULES))))
    return [phone for _, phone in provider.rung]


def ask(store: Store, provider: Any) -> None:
    async def run() -> None:
        side = outside(store, RULES)
        await Tracker(UNHEEDING, provider, side).run(5.0)
        await side.recorder.drained()

    asyncio.run(run())


def one(store: Store, table: Any) -> Any:
    with store.read() as connection:
        return connection.execute(select(table)).one()


def hold(store: Store, clock: FakeClock, before: float) -> Queueing:
    """A call that left ``before`` seconds before closing and waits in the queue."""
    clock.advance(CLOSES - before - clock.now())
    add_campaign(store, [A], plan=Plan(hours=OFFICE))
    provider = Queueing()
    assert dial(store, provider) == [A]
    return provider


@pytest.fixture
def held(store: Store, clock: FakeClock) -> Queueing:
    return hold(store, clock, 60.0)


def test_before_its_window_closes_it_is_taken_back_and_costs_no_attempt(
    store: Store, clock: FakeClock, held: Queueing
) -> None:
    # Given a held call, When it is looked at while there is time for another look
    clock.advance(11.0)
    ask(store, held)
    assert held.canceled == []
    # And when there is not
    clock.advance(30.0)
    ask(store, held)
    # Then it was canceled, is told so, and its number has lost nothing
    assert held.canceled == [A]
    attempt, target = one(store, attempts), one(store, targets)
    assert (attempt.state, attempt.disposition, attempt.counted) == (AttemptState.ENDED, Disposition.CANCELED, False)
    assert attempt.reason == "canceled in the provider's queue before it rang"
    assert (target.state, target.attempts, target.last_attempt_at) == (TargetState.WAITING, 0, None)
    assert one(store, events).kind == "withdrawn"
    # And it waits for the next window
    clock.advance(Plan().conflict_interval)
    assert dial(store, Queueing()) == []
    target = one(store, targets)
    assert (target.due_at, target.reason) == (CLOSES + 15 * 3600.0, "outside calling hours")


def test_a_call_in_the_queue_is_looked_at_steadily(store: Store, clock: FakeClock) -> None:
    # Given a call that waits for minutes, When it is looked at, Then the next look is never put off
    held = hold(store, clock, 3600.0)
    for _ in range(4):
        clock.advance(11.0)
        ask(store, held)
        assert one(store, attempts).next_look_at == clock.now() + 10.0
    # And when it rings, the pauses grow
    held.shows = RINGING
    for _ in range(2):
        clock.advance(11.0)
        ask(store, held)
    assert one(store, attempts).next_look_at == clock.now() + 15.0


def test_who_asks_not_to_be_called_is_not_rung_from_a_queue(store: Store, clock: FakeClock) -> None:
    # Given hours to go, and an opt-out while the call waits
    held = hold(store, clock, 4 * 3600.0)
    with store.write() as connection:
        connection.execute(insert(do_not_call).values(phone=A, reason="asked", added_at=0.0))
    # When it is looked at, Then it is taken back
    clock.advance(11.0)
    ask(store, held)
    assert held.canceled == [A]
    # And its number is skipped by the next claim
    clock.advance(Plan().conflict_interval)
    assert dial(store, Queueing()) == []
    assert one(store, targets).state == TargetState.SKIPPED


def test_what_rings_already_is_left_alone(store: Store, clock: FakeClock, held: Queueing) -> None:
    held.shows = RINGING
    clock.advance(50.0)
    ask(store, held)
    assert held.canceled == []
    assert one(store, attempts).state == AttemptState.PLACED


def test_a_provider_that_cannot_cancel_is_not_asked(store: Store, clock: FakeClock, held: Queueing) -> None:
    deaf = Deaf()
    clock.advance(50.0)
    ask(store, deaf)
    assert deaf.canceled == []
    assert one(store, attempts).state == AttemptState.PLACED


def test_a_cancel_whose_answer_is_lost_is_seen_by_the_next_look(store: Store, clock: FakeClock, held: Queueing) -> None:
    held.gives_in = False
    clock.advance(50.0)
    ask(store, held)
    assert one(store, attempts).state == AttemptState.PLACED
    clock.advance(11.0)
    ask(store, held)
    assert (one(store, attempts).counted, one(store, targets).attempts) == (False, 0)


def test_a_call_that_began_to_ring_before_the_cancel_was_an_attempt(
    store: Store, clock: FakeClock, held: Queueing
) -> None:
    held.after_a_cancel = replace(CANCELED, rang=True)
    clock.advance(50.0)
    ask(store, held)
    attempt, target = one(store, attempts), one(store, targets)
    assert (attempt.disposition, attempt.counted) == (Disposition.CANCELED, True)
    assert (target.state, target.attempts) == (TargetState.DONE, 1)


def test_a_number_whose_calls_are_canceled_again_and_again_is_held(store: Store, clock: FakeClock) -> None:
    # Given a provider that throws calls out of its queue, whoever asked for it
    add_campaign(store, [A], plan=Plan(max_conflicts=3, conflict_interval=60.0))
    provider = Queueing()
    provider.shows = CANCELED
    # When it has done so three times
    for _ in range(4):
        dial(store, provider)
        clock.advance(11.0)
        ask(store, provider)
        clock.advance(60.0)
    # Then a person decides
    assert len(provider.rung) == 3
    target = one(store, targets)
    assert (target.state, target.attempts) == (TargetState.HELD, 0)
    assert "3 times" in target.reason
