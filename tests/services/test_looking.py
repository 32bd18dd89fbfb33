"""Results, doubts, leases and deliveries: who looks at a call that is out, and what comes of it."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from campaign.domain.calls import (
    CallReport,
    Finding,
    FindingKind,
    RememberedCall,
    ReportStatus,
    WebhookDelivery,
)
from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import Verdict, unconfirmed
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.services import webhooks
from campaign.services.dialing import Dialer
from campaign.services.outside import Outside
from campaign.services.settling import Settler
from campaign.services.sweeping import forget_what_is_old, sweep
from campaign.services.tracking import Tracker
from campaign.services.webhooks import InboxReader
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, events, inbox, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, dial_once, numbers, outside

SCHEDULE = PollSchedule(first_after=10.0, every=10.0, at_most_every=40.0, give_up_after=600.0)
RULES = {"one": LookRules(poll=SCHEDULE, list_lag=5.0, looks_after=30.0)}
SECRET_LINE = LINE.model_copy(update={"credentials": {"webhook_secret": SecretStr("s3cret-canary")}})
A, B = numbers(2)


class Answering(ScriptedProvider):
    """Also answers questions, from what the test wrote down."""

    capabilities = Capabilities(poll=True, poll_batch=3)

    def __init__(self, script: Mapping[str, Sequence[Verdict]] | None = None) -> None:
        super().__init__(script)
        self.ends: dict[str, CallReport] = {}
        self.batches: list[int] = []
        self.findings: list[Finding] = []
        self.canaries: list[RememberedCall | None] = []

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        self.batches.append(len(calls))
        pending = CallReport(ReportStatus.PENDING, raw="ringing")
        return [replace(self.ends.get(call.phone, pending), attempt_id=call.attempt_id) for call in calls]

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        self.canaries.append(canary)
        return self.findings.pop(0)

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        said = json.loads(delivery.body)
        ended = Disposition(said["end"])
        return [CallReport(ReportStatus.FINAL, call_id=said.get("id"), phone=said.get("to"), disposition=ended)]

    async def identify(self, report: CallReport) -> CallReport:
        return report


def ended(disposition: Disposition, raw: str = "") -> CallReport:
    return CallReport(ReportStatus.FINAL, disposition=disposition, raw=raw or disposition.upper())


def one(store: Store, table: Any) -> Any:
    with store.read() as connection:
        return connection.execute(select(table)).one()


async def everything(side: Outside, work: Any) -> None:
    await work.run(5.0)
    await side.recorder.drained()


def dial(store: Store, provider: Answering) -> None:
    asyncio.run(dial_once(Dialer(LINE, provider, outside(store, RULES))))


def ask(store: Store, provider: Any) -> None:
    async def run() -> None:
        side = outside(store, RULES)
        await everything(side, Tracker(LINE, provider, side))

    asyncio.run(run())


def settle(store: Store, provider: Any) -> None:
    async def run() -> None:
        side = outside(store, RULES)
        await everything(side, Settler(LINE, provider, side))

    asyncio.run(run())


def read_inbox(store: Store, provider: Any) -> None:
    async def run() -> None:
        side = outside(store, RULES)
        await everything(side, InboxReader(SECRET_LINE, provider, side))

    asyncio.run(run())


def test_results_are_asked_for_in_batches_first_after_the_ring_then_ever_less_often(
    store: Store, clock: FakeClock
) -> None:
    # Given seven placed calls at a provider that takes three ids a question
    add_campaign(store, numbers(7))
    provider = Answering()
    dial(store, provider)
    # When it is asked too early, in time, and again
    ask(store, provider)
    assert provider.batches == []
    clock.advance(10.0)
    ask(store, provider)
    # Then the questions are batched and each pause is longer, up to the longest
    assert sorted(provider.batches) == [1, 3, 3]
    pauses = []
    for _ in range(5):
        with store.read() as connection:
            due = connection.execute(select(attempts.c.next_look_at).limit(1)).scalar_one()
        pauses.append(due - clock.now())
        clock.advance(due - clock.now())
        ask(store, provider)
    assert pauses == [10.0, 15.0, 22.5, 33.75, 40.0]


def test_a_result_ends_the_attempt_with_the_raw_word_kept(store: Store, clock: FakeClock) -> None:
    # Given a placed call whose provider says BUSY
    add_campaign(store, [A])
    provider = Answering()
    dial(store, provider)
    provider.ends[A] = ended(Disposition.BUSY, "486 Busy Here")
    clock.advance(10.0)
    # When it is asked
    ask(store, provider)
    # Then the attempt has ended and the rule for busy gives the next time
    attempt, target = one(store, attempts), one(store, targets)
    assert (attempt.state, attempt.disposition, attempt.raw) == ("ended", "busy", "486 Busy Here")
    assert (target.state, target.due_at, target.attempts) == ("waiting", clock.now() + 300, 1)


def test_a_call_without_a_result_ends_unknown_and_is_held(store: Store, clock: FakeClock) -> None:
    # Given a call for which no result ever comes
    add_campaign(store, [A])
    dial(store, Answering())
    # When its time has run out
    clock.advance(601.0)
    sweep(store, RULES)
    # Then a person must decide; nothing rings again by itself
    assert one(store, attempts).disposition == "unknown"
    assert one(store, targets).state == TargetState.HELD


def doubtful(store: Store) -> Answering:
    """One call whose answer was lost, on a line with an ended call that can serve as a canary."""
    add_campaign(store, [A], name="first")
    provider = Answering()
    dial(store, provider)
    with store.write() as connection:
        connection.execute(update(attempts).values(state="ended", disposition="answered", ended_at=1.0))
        connection.execute(update(targets).values(state="done", disposition="answered", attempt_id=None))
    add_campaign(store, [B], name="second")
    provider.script[B] = [unconfirmed("read timeout")]
    dial(store, provider)
    return provider


def doubt(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(select(attempts).where(attempts.c.phone == B)).one()


def test_a_lost_answer_that_is_found_is_placed_and_not_rung_again(store: Store, clock: FakeClock) -> None:
    provider = doubtful(store)
    clock.advance(30.0)
    # When the provider shows the call
    provider.findings = [Finding(FindingKind.FOUND, as_of=clock.now(), call_id="found-1")]
    settle(store, provider)
    # Then it is the same attempt, placed, with the provider's id; and the look was given a canary
    assert (doubt(store).state, doubt(store).call_id) == (AttemptState.PLACED, "found-1")
    assert provider.canaries[0] is not None
    assert provider.canaries[0].phone == A


def test_only_two_proofs_after_the_grace_free_the_number(store: Store, clock: FakeClock) -> None:
    provider = doubtful(store)
    # When the provider shows no such call soon after, and twice after the grace
    for wait, state in ((30.0, "unconfirmed"), (400.0, "unconfirmed"), (60.0, "not_placed")):
        clock.advance(wait)
        with store.write() as connection:
            connection.execute(update(attempts).where(attempts.c.phone == B).values(next_look_at=clock.now()))
        provider.findings = [Finding(FindingKind.ABSENT, as_of=clock.now())]
        settle(store, provider)
        # Then the first absence is no proof, the second is one, the third frees the number
        assert doubt(store).state == state
    with store.read() as connection:
        target = connection.execute(select(targets).where(targets.c.phone == B)).one()
    assert (target.state, target.attempts) == (TargetState.WAITING, 0)


def test_a_call_that_is_another_attempts_proves_nothing(store: Store, clock: FakeClock) -> None:
    provider = doubtful(store)
    with store.read() as connection:
        first = connection.execute(select(attempts.c.call_id).where(attempts.c.phone == A)).scalar_one()
    clock.advance(30.0)
    provider.findings = [Finding(FindingKind.FOUND, as_of=clock.now(), call_id=first)]
    settle(store, provider)
    assert (doubt(store).state, doubt(store).call_id) == (AttemptState.UNCONFIRMED, None)


@pytest.mark.parametrize(
    ("state", "becomes", "target"),
    [("claimed", "released", "waiting"), ("sending", "unconfirmed", "calling")],
)
def test_a_silent_holder_loses_its_lease(store: Store, clock: FakeClock, state: str, becomes: str, target: str) -> None:
    # Given a worker that died with a call in its hand
    add_campaign(store, [A])
    dial(store, Answering())
    with store.write() as connection:
        held = {"state": state, "lease_until": clock.now() + 30, "counted": False, "next_look_at": None}
        connection.execute(update(attempts).values(**held))
    # When the sweeper passes before and after the lease
    sweep(store, RULES)
    assert one(store, attempts).state == state
    clock.advance(31.0)
    sweep(store, RULES)
    # Then what was sent is in doubt, never simply due again
    assert one(store, attempts).state == becomes
    assert one(store, targets).state == target


def test_a_target_that_kills_three_workers_is_held(store: Store, clock: FakeClock) -> None:
    add_campaign(store, [A])
    for _ in range(3):
        dial(store, Answering())
        with store.write() as connection:
            live = update(attempts).where(attempts.c.state == "placed")
            connection.execute(live.values(state="claimed", lease_until=clock.now(), counted=False))
        clock.advance(1.0)
        sweep(store, RULES)
    assert one(store, targets).state == TargetState.HELD
    assert "3 workers died" in one(store, targets).reason


def deliver(store: Store, end: str, *, query: Mapping[str, str] | None = None, **said: str) -> bool:
    body = json.dumps({"end": end, **said}).encode()
    headers = {"authorization": "Bearer s3cret-canary", "content-type": "application/json"}
    asked = {"token": "s3cret-canary", **(query or {})}
    delivery = WebhookDelivery(headers, asked, body, store.clock.now(), verified=True)
    return webhooks.receive(store, SECRET_LINE, delivery)


def test_a_verified_delivery_ends_the_call_once_and_keeps_no_secret(store: Store, clock: FakeClock) -> None:
    # Given a placed call
    add_campaign(store, [A])
    provider = Answering()
    dial(store, provider)
    call_id = one(store, attempts).call_id
    # When its end is delivered twice
    assert deliver(store, "answered", id=call_id)
    assert not deliver(store, "answered", id=call_id)
    read_inbox(store, provider)
    # Then it is one row without the secret, and the call has ended
    stored = one(store, inbox)
    assert "s3cret" not in str([stored.headers, stored.query])
    assert (one(store, attempts).state, one(store, targets).disposition) == ("ended", "answered")
    assert stored.due_at is None


def test_an_unverified_delivery_is_only_a_hint_to_ask(store: Store, clock: FakeClock) -> None:
    add_campaign(store, [A])
    provider = Answering()
    dial(store, provider)
    call_id = one(store, attempts).call_id
    # When somebody, who may be anybody, says that it was answered
    told = CallReport(ReportStatus.FINAL, call_id=call_id, disposition=Disposition.ANSWERED, raw="x" * 100_000)
    webhooks.receive_hint(store, LINE, [told])
    stored = one(store, inbox)
    # Then only which call it is about is kept, until it was read
    assert (stored.headers, stored.query) == ({}, {})
    assert len(stored.body) < 4096
    read_inbox(store, provider)
    with store.read() as connection:
        assert connection.execute(select(inbox)).all() == []
    # And nothing has ended, but somebody asks now instead of later
    assert one(store, attempts).state == AttemptState.PLACED
    assert one(store, attempts).next_look_at == clock.now()


def test_a_hint_about_nobodys_call_leaves_nothing_behind(store: Store, clock: FakeClock) -> None:
    add_campaign(store, [])
    webhooks.receive_hint(store, LINE, [CallReport(ReportStatus.PENDING, call_id="nobody's")])
    for _ in range(webhooks.HINT_TRIES):
        read_inbox(store, Answering())
        clock.advance(600.0)
    with store.read() as connection:
        assert connection.execute(select(inbox)).all() == connection.execute(select(events)).all() == []


def test_a_hint_takes_less_than_four_kilobytes_whatever_it_names(store: Store) -> None:
    long = [CallReport(ReportStatus.PENDING, call_id="ü" * 195 + str(n), phone="+1" * 50) for n in range(10_000)]
    assert webhooks.receive_hint(store, LINE, [CallReport(ReportStatus.PENDING, call_id="x" * 5000), *long])
    assert 2000 < len(one(store, inbox).body) <= 4096


def test_hints_that_wait_are_bounded_and_verified_deliveries_are_not(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a line to which anybody has sent as many hints as may wait
    monkeypatch.setattr(webhooks, "UNREAD_HINTS", 3)
    hints = [CallReport(ReportStatus.PENDING, call_id=f"c-{n}") for n in range(4)]
    for hint in hints[:3]:
        assert webhooks.receive_hint(store, SECRET_LINE, [hint])
    # When one more comes, Then it is refused; not so on another line, nor with the secret
    with pytest.raises(webhooks.TooManyHints):
        webhooks.receive_hint(store, SECRET_LINE, [hints[3]])
    assert webhooks.receive_hint(store, SECRET_LINE.model_copy(update={"name": "two"}), [hints[3]])
    assert deliver(store, "answered", id="c-1")


def test_a_delivery_that_was_read_is_forgotten_after_thirty_days(store: Store, clock: FakeClock) -> None:
    # Given a delivery that was read and one that waits
    add_campaign(store, [])
    deliver(store, "answered")
    read_inbox(store, Silent())
    deliver(store, "busy")
    for days, left in ((29, 2), (2, 1)):
        clock.advance(days * 86_400.0)
        forget_what_is_old(store)
        with store.read() as connection:
            assert len(connection.execute(select(inbox)).all()) == left


class Silent(Answering):
    """Reads nothing in a delivery that is for us."""

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        return []


def test_a_delivery_for_a_call_that_is_not_ours_is_kept_as_an_orphan(store: Store, clock: FakeClock) -> None:
    add_campaign(store, [])
    deliver(store, "answered", id="nobody's")
    for _ in range(webhooks.TRIES):
        read_inbox(store, Answering())
        clock.advance(600.0)
    stored, event = one(store, inbox), one(store, events)
    assert stored.due_at is None
    assert stored.tries == webhooks.TRIES
    assert event.kind == "orphan_result"
