"""Looks that hang, fail or die with their process: whose results come late by it, and by how much."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from campaign.domain.calls import CallReport, Finding, FindingKind, RememberedCall, ReportStatus
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import unconfirmed
from campaign.services import tracking
from campaign.services.settling import Settler
from campaign.services.tracking import Tracker
from campaign.services.webhooks import InboxReader
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, targets
from tests.clock import FakeClock
from tests.engine import LINE, add_campaign, numbers, outside
from tests.services.test_looking import (
    RULES,
    SECRET_LINE,
    A,
    Answering,
    B,
    ask,
    deliver,
    everything,
    one,
    settle,
)
from tests.services.test_looking import dial as dial_for_a_second

PATIENT = LINE.model_copy(update={"timeout": 20.0})
PENDING = CallReport(ReportStatus.PENDING, raw="ringing")


class Hanging(Answering):
    """Never answers about the numbers in ``hang``; batches of one."""

    capabilities = replace(Answering.capabilities, poll_batch=1)

    def __init__(self) -> None:
        super().__init__()
        self.hang: set[str] = set()
        self.asked: list[str] = []
        self.slowly: Callable[[], object] = lambda: None

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        self.slowly()
        self.asked += [call.phone for call in calls]
        if self.hang & {call.phone for call in calls}:
            await asyncio.Event().wait()
        return await super().results(calls)


def dial(store: Store, provider: Any) -> None:
    """Until nothing waits: on a busy machine a call may miss its start time and be given back."""
    for _ in range(20):
        dial_for_a_second(store, provider)
        with store.read() as connection:
            if not connection.execute(select(targets.c.id).where(targets.c.state == "waiting")).all():
                return


def looks_at(store: Store) -> dict[str, float]:
    with store.read() as connection:
        return {phone: at for phone, at in connection.execute(select(attempts.c.phone, attempts.c.next_look_at))}


def test_a_poller_that_dies_keeps_few_calls_from_being_asked_about_and_not_for_long(
    store: Store, clock: FakeClock
) -> None:
    # Given more calls that are due than one process asks about at once, at a provider that hangs
    phones = numbers(2 * tracking.AT_ONCE)
    add_campaign(store, phones)
    provider: Any = Hanging()
    dial(store, provider)
    provider.hang = set(phones)
    clock.advance(10.0)

    async def asks_and_dies() -> None:
        side = outside(store, RULES)
        running = asyncio.create_task(Tracker(PATIENT, provider, side).run(60.0))
        while not running.done() and len(provider.asked) < tracking.AT_ONCE:
            await asyncio.sleep(0.01)

    # When it dies with all its questions out
    asyncio.run(asks_and_dies())
    # Then half of the calls are left for others, and the rest are, too, within seconds, however long a request may take
    held = {phone: at for phone, at in looks_at(store).items() if at > clock.now()}
    assert len(held) == tracking.AT_ONCE
    assert max(held.values()) - clock.now() <= 5.0


def test_a_slow_provider_is_not_asked_twice_about_one_call(store: Store, clock: FakeClock) -> None:
    # Given a provider that has taken six seconds to answer
    add_campaign(store, [A])
    provider: Any = Hanging()
    dial(store, provider)
    clock.advance(10.0)

    async def slow_then_dies() -> None:
        side = outside(store, RULES, clock=clock)
        tracker = Tracker(PATIENT, provider, side)
        provider.slowly = lambda: clock.advance(6.0)
        await everything(side, tracker)
        clock.advance(10.0)
        provider.slowly, provider.hang = lambda: None, {A}
        running = asyncio.create_task(tracker.run(60.0))
        while not running.done() and len(provider.asked) < 2:
            await asyncio.sleep(0.01)

    # When it is asked the next time, Then others wait for longer than it takes
    asyncio.run(slow_then_dies())
    assert looks_at(store)[A] - clock.now() == 18.0 + 3.0


def test_a_question_that_hangs_keeps_no_other_call_waiting(store: Store, clock: FakeClock) -> None:
    # Given calls that are due, about one of which the provider never answers
    phones = numbers(3)
    add_campaign(store, phones)
    provider: Any = Hanging()
    dial(store, provider)
    provider.hang = {phones[0]}
    clock.advance(10.0)

    async def two_runs() -> None:
        side = outside(store, RULES)
        tracker = Tracker(LINE, provider, side)
        await tracker.run(0.3)
        clock.advance(10.0)
        # When the others become due again, Then they are asked about by the next run and its end is not waited for
        await tracker.run(0.3)

    asyncio.run(asyncio.wait_for(two_runs(), 10.0))
    assert sorted(provider.asked) == sorted([*phones, *phones[1:]])


def test_a_question_without_an_answer_makes_the_pauses_no_longer(store: Store, clock: FakeClock) -> None:
    # Given a call that was asked about twice, and a provider that then fails five times
    add_campaign(store, [A])
    provider = Answering()
    dial(store, provider)
    pauses = []
    answers = [PENDING, PENDING, *[CallReport(ReportStatus.UNREACHABLE)] * 5, PENDING, PENDING]
    for answer in answers:
        clock.advance(looks_at(store)[A] - clock.now())
        provider.ends[A] = answer
        ask(store, provider)
        pauses.append(looks_at(store)[A] - clock.now())
    # Then it is asked again at the pace of before, not after minutes
    assert pauses == [10.0, 15.0, *[22.5] * 5, 22.5, 33.75]


class UnderWay(Answering):
    """Webhooks tell of calls that are going on."""

    def read_webhook(self, delivery: Any) -> list[CallReport]:
        return [replace(PENDING, call_id=delivery.query["id"], raw=delivery.query["event"])]


def test_webhooks_about_a_call_under_way_do_not_put_off_the_next_question(store: Store, clock: FakeClock) -> None:
    # Given a placed call
    add_campaign(store, [A])
    provider: Any = UnderWay()
    dial(store, provider)
    due, call_id = looks_at(store)[A], one(store, attempts).call_id
    clock.advance(5.0)
    # When its provider tells that it was queued, rings and was picked up
    for event in ("queued", "ringing", "up"):
        clock.advance(0.5)
        deliver(store, "answered", query={"id": call_id, "event": event})

    async def read() -> None:
        side = outside(store, RULES)
        await everything(side, InboxReader(SECRET_LINE, provider, side))

    asyncio.run(read())
    # Then the word is kept, and the call is asked about when it would have been
    attempt = one(store, attempts)
    assert (attempt.raw, attempt.next_look_at, attempt.looks) == ("up", due, 0)


# --- a doubt beside an earlier attempt's call


class Searching(Answering):
    """Remembers what it is told of other attempts' calls."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[frozenset[str]] = []

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        self.others.append(call.others)
        return await super().find(call, canary)


def doubtful_retry(store: Store, provider: Searching) -> str:
    """A number whose first call has ended and whose second call's answer was lost; the provider's id of the first."""
    add_campaign(store, [B])
    dial(store, provider)
    with store.write() as connection:
        connection.execute(update(attempts).values(state="ended", disposition="busy", ended_at=1.0))
        again = {"state": "waiting", "due_at": store.now(connection), "attempt_id": None, "disposition": "busy"}
        connection.execute(update(targets).values(again))
        first: str = connection.execute(select(attempts.c.call_id)).scalar_one()
    provider.script[B] = [unconfirmed("read timeout")]
    dial(store, provider)
    return first


def test_the_id_in_the_answer_to_another_attempts_originate_is_passed_over(store: Store, clock: FakeClock) -> None:
    provider = Searching()
    first = doubtful_retry(store, provider)
    clock.advance(30.0)
    provider.findings = [Finding(FindingKind.ABSENT, as_of=clock.now())]
    settle(store, provider)
    assert provider.others == [frozenset({first})]


def test_an_id_that_another_attempt_came_by_in_another_way_is_no_proof(store: Store, clock: FakeClock) -> None:
    # Given that the first call's answer was lost, too, and its id found by number and time: it may be the second's
    provider = Searching()
    first = doubtful_retry(store, provider)
    with store.write() as connection:
        ended = update(attempts).where(attempts.c.state == "ended")
        connection.execute(ended.values(verdict="unconfirmed"))
    clock.advance(30.0)
    # When the look finds it, Then that proves nothing, in neither direction
    provider.findings = [Finding(FindingKind.FOUND, as_of=clock.now(), call_id=first)]
    settle(store, provider)
    assert provider.others == [frozenset()]
    with store.read() as connection:
        doubt = connection.execute(select(attempts).order_by(attempts.c.id.desc()).limit(1)).one()
    assert (doubt.state, doubt.call_id, doubt.absences) == (AttemptState.UNCONFIRMED, None, 0)


def test_a_line_that_is_told_to_end_lets_its_looks_end(store: Store, clock: FakeClock) -> None:
    # Given a doubt that is being looked for
    provider = Searching()
    doubtful_retry(store, provider)
    clock.advance(30.0)
    provider.findings = [Finding(FindingKind.FOUND, as_of=clock.now(), call_id="ours")]
    stopping = False

    async def slowly(call: RememberedCall, canary: RememberedCall | None) -> Finding:
        nonlocal stopping
        stopping = True
        await asyncio.sleep(0.5)
        return provider.findings.pop(0)

    async def run() -> None:
        side = outside(store, RULES, stopping=lambda: stopping)
        slow: Any = provider
        slow.find = slowly
        await everything(side, Settler(LINE, slow, side))

    # When its process must end meanwhile, Then what it finds is recorded
    asyncio.run(run())
    with store.read() as connection:
        states = connection.execute(select(attempts.c.state).order_by(attempts.c.id)).scalars().all()
    assert states == ["ended", AttemptState.PLACED]
