"""Dialling against a real database: who is rung, when, and what every answer leaves behind."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from campaign.domain.calls import OutboundCall
from campaign.domain.errors import OutOfReach
from campaign.domain.pace import Correction, Reservation, Room, StartTime, Want
from campaign.domain.plan import Caps, OnUnknown, Pace, Plan
from campaign.domain.states import AttemptState, CampaignState, LineState, TargetState
from campaign.domain.verdicts import (
    PauseFault,
    Verdict,
    VerdictKind,
    bad_number,
    conflict,
    line_not_ready,
    not_sent,
    pause,
    placed,
    refused_call,
    throttled,
    unconfirmed,
)
from campaign.policies.looking import LookRules
from campaign.policies.pacing import SECOND
from campaign.services.claiming import Wish, claim, claim_lease
from campaign.services.dialing import Dialer
from campaign.services.sweeping import sweep
from campaign.storage.engine import Store, SystemClock
from campaign.storage.schema import attempts, campaigns, do_not_call, events, lines, targets
from tests.clock import FakeClock
from tests.engine import LINE, PLENTY, LocalThrottle, ScriptedProvider, add_campaign, dial_once, numbers, outside
from tests.sliding import most_in_a_second


def rows(store: Store, table: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(table.c.id)))


PROVING = {LINE.name: LookRules(poll=LINE.poll, conflict_proves=True)}


def dial(
    store: Store, provider: ScriptedProvider, seconds: float = PLENTY, line: Any = LINE, rules: Any = None
) -> None:
    async def run() -> None:
        await dial_once(Dialer(line, provider, outside(store, rules)), seconds)

    asyncio.run(run())


def test_every_number_is_rung_once_and_becomes_placed(store: Store) -> None:
    # Given a campaign of two hundred numbers
    phones = numbers(200)
    add_campaign(store, phones)
    provider = ScriptedProvider()
    # When the line is dialled
    dial(store, provider)
    # Then each rang once and waits for its result
    assert Counter(phone for _, phone in provider.rung) == Counter(phones)
    assert {(a.state, a.counted) for a in rows(store, attempts)} == {("placed", True)}
    assert {t.state for t in rows(store, targets)} == {"calling"}


def test_two_processes_and_two_campaigns_ring_no_number_twice(store: Store) -> None:
    # Given two campaigns that share half of their numbers, and two processes that dial at once
    phones = numbers(150)
    add_campaign(store, phones[:100], name="first")
    add_campaign(store, phones[50:], name="second")
    provider = ScriptedProvider()

    async def both() -> None:
        here = outside(store)
        there = outside(store, throttle=here.throttle)
        await asyncio.gather(*(dial_once(Dialer(LINE, provider, side)) for side in (here, there)))

    # When they dial
    asyncio.run(both())
    # Then a number with a live call is left alone by whoever comes second
    assert Counter(phone for _, phone in provider.rung) == Counter(phones)
    waiting = [t for t in rows(store, targets) if t.state == TargetState.WAITING]
    assert {t.reason for t in waiting} == {"another call to this number is live"}
    assert len(waiting) == 50


def test_the_line_is_never_fuller_than_its_limit(store: Store) -> None:
    # Given room for seven calls in flight
    add_campaign(store, numbers(40))
    line = LINE.model_copy(update={"max_in_flight": 7})
    provider = ScriptedProvider()
    # When it is dialled for a while
    dial(store, provider, 2.0, line)
    # Then seven are out and the others wait for room
    assert len(provider.rung) == 7


def test_pace_holds_for_the_line_and_for_a_campaign_of_its_own(store: Store) -> None:
    # Given a fast line and two campaigns, one of them held to ten calls a second
    quick, slow = numbers(180)[:150], numbers(180)[150:]
    add_campaign(store, quick, name="quick")
    add_campaign(store, slow, name="slow", plan=Plan(pace=Pace(calls_per_second=10.0)))
    provider = ScriptedProvider()
    line = LINE.model_copy(update={"calls_per_second": 120.0})
    # When the line is dialled until nobody is left, which one order gets done unless the machine stands still
    for _ in range(3):
        dial(store, provider, line=line)
    # Then neither limit is passed in any sliding second, and the slow campaign did not hold up the quick one
    assert Counter(phone for _, phone in provider.rung) == Counter(quick + slow)
    assert most_in_a_second([at for at, _ in provider.rung]) <= 120
    assert most_in_a_second([at for at, phone in provider.rung if phone in slow]) <= 11
    assert max(at for at, phone in provider.rung if phone in quick) < max(at for at, _ in provider.rung)


A, B = numbers(2)

ANSWERS: list[tuple[Verdict, str, str, int]] = [
    # verdict, attempt state, target state, real attempts
    (placed("x"), "placed", "calling", 1),
    (conflict("already queued"), "refused", "waiting", 0),
    (throttled("slow down", 2.0), "refused", "waiting", 0),
    (refused_call("setup failed"), "refused", "waiting", 1),
    (bad_number("no such number"), "refused", "done", 1),
    (line_not_ready("extension not registered"), "refused", "waiting", 0),
    (pause(PauseFault.AUTH, "key refused"), "refused", "waiting", 0),
    (not_sent("connection refused"), "released", "waiting", 0),
    (unconfirmed("read timeout"), "unconfirmed", "calling", 0),
]


def test_the_table_of_answers_is_whole() -> None:
    assert {verdict.kind for verdict, *_ in ANSWERS} == set(VerdictKind)


@pytest.mark.parametrize(("verdict", "attempt", "target", "counted"), ANSWERS, ids=lambda v: getattr(v, "kind", None))
def test_what_each_answer_leaves(store: Store, verdict: Verdict, attempt: str, target: str, counted: int) -> None:
    # Given one number whose provider answers so
    add_campaign(store, [A])
    # When it is dialled
    dial(store, ScriptedProvider({A: [verdict]}))
    # Then attempt, target and count are as docs/architecture.md says
    [row], [of_target] = rows(store, attempts), rows(store, targets)
    assert (row.state, row.verdict) == (attempt, verdict.kind)
    assert (of_target.state, of_target.attempts) == (target, counted)


def test_a_refused_key_pauses_the_campaign_and_costs_nobody_an_attempt(store: Store) -> None:
    # Given a provider that refuses the key
    phones = numbers(30)
    add_campaign(store, phones)
    refusal = pause(PauseFault.AUTH, "the provider refused the key")
    # When the line is dialled
    dial(store, ScriptedProvider({phone: [refusal] * 9 for phone in phones}))
    # Then the campaign stands still, says why, and every number waits with no attempt counted
    [campaign] = rows(store, campaigns)
    assert campaign.state == CampaignState.PAUSED
    assert campaign.why == "auth: the provider refused the key"
    assert {(t.state, t.attempts) for t in rows(store, targets)} == {("waiting", 0)}


def test_throttling_silences_the_line_and_halves_its_pace(store: Store, clock: FakeClock) -> None:
    # Given a provider that says 429, retry after thirty seconds
    add_campaign(store, numbers(1))
    dial(store, ScriptedProvider({A: [throttled("too many requests", 30.0)]}))
    with store.read() as connection:
        line = connection.execute(select(lines)).one()
    assert (line.state, line.pace_factor, line.not_before) == (LineState.SILENT, 0.5, clock.now() + 30)
    # When it is dialled before and after that
    provider = ScriptedProvider()
    clock.advance(29.0)
    dial(store, provider, 0.2)
    assert provider.rung == []
    clock.advance(2.0)
    dial(store, provider)
    # Then only after
    assert len(provider.rung) == 1


def test_five_failures_open_the_breaker_and_one_probe_closes_it(store: Store, clock: FakeClock) -> None:
    # Given a provider that cannot be reached
    phones = numbers(20)
    add_campaign(store, phones)
    dial(store, ScriptedProvider({phone: [not_sent("connection refused")] for phone in phones}))
    with store.read() as connection:
        assert connection.execute(select(lines.c.state)).scalar_one() == LineState.BROKEN
    # When its time has come
    clock.advance(400.0)
    provider = ScriptedProvider()
    dial(store, provider)
    # Then one call goes first, and its success lets the others follow
    with store.read() as connection:
        assert connection.execute(select(lines.c.state)).scalar_one() == LineState.SLOWED
    assert sum(a.probe for a in rows(store, attempts)) == 1
    assert provider.rung


class Busy(LocalThrottle):
    """Has room, and no start time that would come soon enough."""

    async def reserve(self, *asked: Any) -> Reservation:
        return Reservation((), SystemClock().monotonic() + 60.0)


def test_where_the_probe_is_given_back_unsent_another_goes_at_once(store: Store, clock: FakeClock) -> None:
    # Given a broken line whose time has come, and a worker whose order ends before its probe could leave
    phones = numbers(20)
    add_campaign(store, phones)
    dial(store, ScriptedProvider({phone: [not_sent("connection refused")] for phone in phones}))
    clock.advance(400.0)
    asyncio.run(dial_once(Dialer(LINE, ScriptedProvider(), outside(store, throttle=Busy())), 0.2))
    # When the line is dialled again
    provider = ScriptedProvider()
    dial(store, provider)
    # Then another call is the probe, and the others follow: with the next order, where this one had nothing to do
    # while the probe's answer was still to be recorded
    assert [a.state for a in rows(store, attempts) if a.probe] == [AttemptState.RELEASED, AttemptState.PLACED]
    dial(store, provider)
    assert len(provider.rung) > 1


def test_where_the_probes_worker_dies_before_it_left_another_goes_as_soon_as_that_is_known(
    store: Store, clock: FakeClock
) -> None:
    # Given a broken line whose time has come, and a worker that dies with the probe claimed
    add_campaign(store, numbers(20))
    dial(store, ScriptedProvider({phone: [not_sent("connection refused")] for phone in numbers(20)}))
    clock.advance(400.0)
    assert [call.probe for call in claim(store, LINE, Wish(5), lambda: "ref-of-the-dead").calls] == [True]
    # When its lease has run out
    clock.advance(claim_lease(LINE) + 0.1)
    sweep(store, PROVING)
    # Then the next call is the probe
    provider = ScriptedProvider()
    dial(store, provider)
    assert provider.rung


@pytest.mark.parametrize("deed", ["pause", "list"])
def test_every_gate_is_asked_again_at_the_last_moment(store: Store, deed: str) -> None:
    # Given a claimed call, and a pause or an opt-out that commits before it leaves
    add_campaign(store, [A])
    provider = ScriptedProvider()
    side = outside(store)
    work = side.in_thread

    async def in_thread(step: Any, *arguments: Any) -> Any:
        if step.__name__ == "confirm":
            with store.write() as connection:
                if deed == "pause":
                    connection.execute(update(campaigns).values(state=CampaignState.PAUSED))
                else:
                    connection.execute(insert(do_not_call).values(phone=A, reason="asked", added_at=0.0))
        return await work(step, *arguments)

    side.in_thread = in_thread
    # When its moment comes
    asyncio.run(dial_once(Dialer(LINE, provider, side)))
    # Then it does not ring
    assert provider.rung == []
    [target] = rows(store, targets)
    assert target.state == (TargetState.WAITING if deed == "pause" else TargetState.SKIPPED)
    assert {a.state for a in rows(store, attempts)} == {AttemptState.RELEASED}


def test_a_commit_that_is_not_confirmed_sends_nothing(store: Store) -> None:
    # Given a database that is lost while `sending` is committed
    add_campaign(store, [A])
    provider = ScriptedProvider()
    side = outside(store)
    work = side.in_thread

    async def in_thread(step: Any, *arguments: Any) -> Any:
        done = await work(step, *arguments)
        if step.__name__ == "confirm":
            raise ConnectionError("server closed the connection unexpectedly")
        return done

    side.in_thread = in_thread
    # When the line is dialled
    asyncio.run(dial_once(Dialer(LINE, provider, side), 2.0))
    # Then nothing was sent although the commit had happened, and the number is free again
    assert provider.rung == []
    assert {a.state for a in rows(store, attempts)} == {AttemptState.RELEASED}
    assert {t.state for t in rows(store, targets)} == {TargetState.WAITING}


def test_a_conflict_adopts_the_earlier_call_that_nobody_could_confirm(store: Store, clock: FakeClock) -> None:
    # Given an attempt that ended unknown, and a plan that lets the number be tried again
    add_campaign(store, [A], plan=Plan(on_unknown=OnUnknown.RETRY))
    dial(store, ScriptedProvider({A: [unconfirmed("read timeout")]}))
    clock.advance(1100.0)
    sweep(store, PROVING)
    assert rows(store, attempts)[0].disposition == "unknown"
    clock.advance(600.0)
    # When the next try meets "already queued"
    dial(store, ScriptedProvider({A: [conflict("already in the call queue")]}), rules=PROVING)
    # Then the first attempt is the call, the second is none, and nothing more is counted
    first, second = rows(store, attempts)
    assert (first.state, first.disposition) == (AttemptState.PLACED, None)
    assert second.state == AttemptState.REFUSED
    [target] = rows(store, targets)
    assert (target.state, target.attempt_id, target.attempts) == (TargetState.CALLING, first.id, 1)


def test_a_cap_on_rings_a_day_counts_other_campaigns_too(store: Store, clock: FakeClock) -> None:
    # Given a number that another campaign has rung within the day
    add_campaign(store, [A], name="first")
    dial(store, ScriptedProvider({A: [refused_call("setup failed")]}))
    add_campaign(store, [A], name="second", plan=Plan(caps=Caps(per_day=1)))
    # When the second campaign's turn comes
    provider = ScriptedProvider()
    dial(store, provider)
    # Then it waits until the day is over
    held = [t for t in rows(store, targets) if t.reason == "already called 1 times in 24 hours"]
    assert [t.due_at for t in held] == [clock.now() + 86_400]


def test_doubts_and_conflicts_leave_an_event_without_the_number(store: Store) -> None:
    add_campaign(store, [A, B])
    dial(store, ScriptedProvider({A: [unconfirmed("read timeout")], B: [conflict("already queued", "409")]}))
    found = rows(store, events)
    assert {event.kind for event in found} == {"doubt", "conflict"}
    assert A not in str([event.detail for event in found])


class Remembering(LocalThrottle):
    """Remembers what it was told came of its start times."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[int, int | None] = {}
        self.given: list[StartTime] = []

    async def reserve(
        self, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
    ) -> Reservation:
        self.told |= {mark: late for mark, late, _ in corrections}
        got = await super().reserve(line, calls_per_second, wants, corrections)
        self.given += got.starts
        return got


class Unanswered(Remembering):
    """Takes its books' first correction, whose answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: dict[int, int | None] = {}

    async def reserve(self, *asked: Any) -> Reservation:
        got = await super().reserve(*asked)
        if self.told and not self.lost:
            self.lost, self.told = self.told, {}
            raise OutOfReach("the connection was cut")
        return got


class HeldUp(ScriptedProvider):
    """Its process is held up for a while between its first look at the clock and the wire."""

    async def originate(self, call: OutboundCall) -> Verdict:
        if len(self.rung) == 30:
            time.sleep(0.375)
        return await super().originate(call)


def test_it_is_told_when_each_call_left_and_who_misses_a_start_time_gets_another(store: Store) -> None:
    # Given a line of 200 calls a second, and a process that is held up for three eighths of one
    add_campaign(store, numbers(150))
    line = LINE.model_copy(update={"calls_per_second": 200.0})
    throttle, provider = Remembering(), HeldUp()
    # When the line is dialled, and again for those that were given back at the end
    asyncio.run(dial_twice(Dialer(line, provider, outside(store, throttle=throttle))))
    # Then it is told what came of every start time: how late its call left, or that it was not used
    assert {start.mark for start in throttle.given} == throttle.told.keys()
    unused = [mark for mark, late in throttle.told.items() if late is None]
    late = [late for late in throttle.told.values() if late is not None and late >= 0.1 * SECOND]
    assert len(unused) >= 5
    assert len(late) >= 5
    # And nobody was rung twice, and no second was too full
    assert Counter(phone for _, phone in provider.rung) == Counter(numbers(150))
    assert most_in_a_second([at for at, _ in provider.rung]) <= 200


def test_what_came_of_start_times_is_told_again_where_nobody_answered(store: Store) -> None:
    # Given calls that leave late, and a throttle that is lost while it is told so
    add_campaign(store, numbers(120))
    line = LINE.model_copy(update={"calls_per_second": 200.0})
    throttle, provider = Unanswered(), HeldUp()
    dialer = Dialer(line, provider, outside(store, throttle=throttle))
    # When the line is dialled, and again
    asyncio.run(dial_twice(dialer))
    # Then it has been told, and nobody was rung twice
    assert throttle.lost
    assert throttle.lost.items() <= throttle.told.items()
    assert Counter(phone for _, phone in provider.rung) == Counter(numbers(120))


class Boasting(Remembering):
    """Says once that there is room for far more calls than there is."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def room(self, line: str, calls_per_second: float) -> Room:
        said = await super().room(line, calls_per_second)
        self.asked += 1
        return said if self.asked > 1 else Room(1000, said.retry_at)

    async def reserve(self, *asked: Any) -> Reservation:
        self.asked += 1
        return await super().reserve(*asked)


def test_a_process_that_has_caught_up_with_its_line_no_longer_asks_for_every_few_calls(store: Store) -> None:
    # Given a process that takes its line for quicker than it is, and calls for two seconds
    add_campaign(store, numbers(800))
    line = LINE.model_copy(update={"calls_per_second": 400.0})
    throttle = Boasting()
    dialer = Dialer(line, ScriptedProvider(), outside(store, throttle=throttle))
    # When it dials them
    asyncio.run(dial_once(dialer))
    # Then it has noticed, and asked for start times in turns
    assert not dialer.behind
    assert len(throttle.given) >= 800
    assert throttle.asked < 150


async def dial_twice(dialer: Dialer) -> None:
    await dial_once(dialer)
    await dial_once(dialer)
