"""The transactions of the workers, as campaign/services run them, over the simulated database.

Each public method of :class:`Protocol` is one transaction. What is decided is decided by the real policies; a mutant
is a subclass that gets one of these steps wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.pace import Correction, Want
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.policies import doubts, lifecycle, pacing, reserving
from campaign.policies.endings import skipped, waiting
from campaign.policies.events import Event, GivenBack, LeaseRanOut, ProvedByConflict, Reported, Step, TimeRanOut
from campaign.policies.gates import DAY, Facts, Gate, Pass, Skip, Wait, gate
from campaign.policies.hours import AT_ONCE
from campaign.policies.line_health import Signal, after_signals, allow, may_send
from campaign.policies.looking import LookRules, conflict_proves_within
from campaign.policies.share import Demand, split
from campaign.policies.withdrawn import must_not_ring
from tests.simulation.clockwork import Clockwork, Machine
from tests.simulation.database import AttemptRow, Database, InboxRow, TargetRow
from tests.simulation.oracle import Oracle

CLAIM_LEASE = 30.0
BUDGET = 1.5
LOOK_LEASE = 5.0
WEBHOOK_TRIES = 9
Happened = tuple[int, Event]


class Hand:
    """A claimed call in a worker's hand. ``since`` is its own monotonic second from before it asked for `sending`."""

    __slots__ = ("committed_at", "row", "since", "token")

    def __init__(self, row: AttemptRow) -> None:
        self.row = row
        self.token = row.value.token
        self.since: float | None = None
        self.committed_at = 0.0


class Protocol:
    def __init__(self, clock: Clockwork, database: Database, rules: Mapping[str, LookRules], oracle: Oracle) -> None:
        self.clock = clock
        self.database = database
        self.rules = rules
        self.oracle = oracle
        self.books: dict[str, reserving.Books] = {}
        self.margin = AT_ONCE  # seconds for which the lines may hold a call before it rings

    # --- decisions, each a seam for a mutant

    def decide(self, attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
        return lifecycle.decide(attempt, target, event, plan, rules, now)

    def gate(self, phone: str, plan: Plan, facts: Facts, now: float) -> Gate:
        return gate(phone, plan, facts, now, self.margin)

    def too_late_to_send(self, hand: Hand, now: float) -> bool:
        """The guard: by the worker's own clock, from before it asked for the commit."""
        return hand.since is None or now - hand.since > BUDGET

    def lease_is_over(self, attempt: Attempt, now: float) -> bool:
        return attempt.lease_until is not None and attempt.lease_until <= now

    def as_of(self, taken_at: float, machine: Machine) -> float:
        """When a look began, by the database's clock."""
        return taken_at

    # --- claiming

    def claim(self, line: str, wanted: int, turn: int) -> tuple[list[Hand], int]:
        """Hands, and how many due targets were looked at."""
        database, now = self.database, self.clock.now
        row = database.lines[line]
        allowance = allow(row.health, wanted, now)
        due = self._due(line, allowance.calls, turn, now)
        hands: list[Hand] = []
        for target in due:
            self._through_gates(target, now)
            if target.value.state is not TargetState.WAITING or (target.value.due_at or 0.0) > now:
                continue
            hand = self._born(target, line, now, probe=allowance.probe)
            if hand is not None:
                hands.append(hand)
        if allowance.health is not row.health and (hands or not allowance.probe):
            row.health = allowance.health
            database.version += 1
            database.notes["probe"] += allowance.probe
        return hands, len(due)

    def _due(self, line: str, calls: int, turn: int, now: float) -> list[TargetRow]:
        if calls <= 0:
            return []
        free = self.database.lines[line].max_in_flight - self.live_on_line(line)
        if free <= 0:
            return []
        all_due = [t for t in self.database.targets.values() if _is_due(t.value, now)]
        if not all_due:
            return []
        wanted = min(calls, free)
        due: dict[int, list[TargetRow]] = {}
        demands: dict[int, Demand] = {}
        for campaign in self.database.campaigns.values():
            if campaign.running and campaign.line == line:
                mine = due[campaign.id] = [t for t in all_due if t.campaign is campaign]
                mine.sort(key=lambda t: t.value.due_at or 0.0)
                most = min(len(due[campaign.id]), wanted)
                limit = campaign.plan.pace.max_in_flight
                if limit is not None:
                    most = min(most, limit - sum(1 for r in self.database.live.values() if r.campaign is campaign))
                demands[campaign.id] = Demand(max(most, 0), campaign.plan.pace.weight)
        shares = split(wanted, demands, turn)
        return [target for number, share in shares.items() for target in due[number][:share]]

    def live_on_line(self, line: str) -> int:
        return sum(1 for row in self.database.live.values() if row.line == line)

    def _through_gates(self, target: TargetRow, now: float) -> None:
        facts = self.facts(target.phone, target.campaign.plan, now, with_live=True)
        match self.gate(target.phone, target.campaign.plan, facts, now):
            case Skip(reason):
                self.database.notes["gate skips at claim"] += 1
                self.write_target(target, skipped(target.value, reason, now))
            case Wait(due_at, reason):
                self.database.notes["gate waits at claim"] += 1
                self.write_target(target, waiting(target.value, due_at, reason))

    def facts(self, phone: str, plan: Plan, now: float, *, with_live: bool) -> Facts:
        database = self.database
        live = with_live and database.live_on(phone) is not None
        recent: tuple[float, ...] = ()
        if plan.caps.per_day is not None:
            recent = tuple(
                row.value.sent_at
                for row in database.attempts.values()
                if row.phone == phone
                and row.value.sent_at is not None
                and row.value.claimed_at >= now - DAY
                and (row.value.counted or row.value.state is AttemptState.UNCONFIRMED)
            )
        return Facts(phone in database.not_to_call, live, recent)

    def _born(self, target: TargetRow, line: str, now: float, *, probe: bool) -> Hand | None:
        if self.index_refuses(target.phone):
            self.database.notes["index refusals"] += 1
            return None
        row = self.database.insert(target, line, now, CLAIM_LEASE, probe=probe)
        calling = target.value._replace(
            state=TargetState.CALLING, due_at=None, reason=None, attempt_id=row.value.id
        )  # fmt: skip
        self.write_target(target, calling)
        self.oracle.consistent(target)
        return Hand(row)

    def index_refuses(self, phone: str) -> bool:
        return self.database.live_on(phone) is not None

    # --- sending

    def confirm(self, line: str, hands: Sequence[Hand]) -> list[Hand]:
        """Commit `sending` for what is still ours and may still ring; give the others back."""
        now, health = self.clock.now, self.database.lines[line].health
        lease = self.rules[line].lease
        going: list[Hand] = []
        back: list[Happened] = []
        for hand in hands:
            value = hand.row.value
            if value.token != hand.token or value.state is not AttemptState.CLAIMED:
                self.database.notes["not mine at confirm"] += 1
                continue
            answer = self.gate_at_confirm(hand.row, now)
            if isinstance(answer, Pass) and self.is_running(hand.row) and may_send(health, value.probe, now):
                sending = value._replace(state=AttemptState.SENDING, sent_at=now, lease_until=now + lease)
                self.write_attempt(hand.row, sending)
                self.oracle.sending(hand.row, now)
                going.append(hand)
            else:
                self.database.notes["given back at confirm"] += 1
                back.append((value.id, _given_back(hand, answer)))
        self.record(back)
        return going

    def gate_at_confirm(self, row: AttemptRow, now: float) -> Gate:
        plan = row.campaign.plan
        return self.gate(row.phone, plan, self.facts(row.phone, plan, now, with_live=False), now)

    def is_running(self, row: AttemptRow) -> bool:
        return row.campaign.running

    # --- recording

    def record(self, happened: Sequence[Happened]) -> None:
        """Decide on the rows as they are now, in order, adoptions last."""
        if not happened:
            return
        signals: dict[str, list[Signal]] = {}
        touched: list[TargetRow] = []
        for attempt_id, event in [*happened, *self.adoptions(happened)]:
            row = self.database.attempts[attempt_id]
            rules, plan = self.rules[row.line], row.campaign.plan
            step = self.decide(row.value, row.target.value, event, plan, rules, self.clock.now)
            self._apply(row, step)
            touched.append(row.target)
            if step.signal is not None:
                signals.setdefault(row.line, []).append(step.signal)
        for target in touched:
            self.oracle.consistent(target)
        for line, met in signals.items():
            self._tell_line(line, met)

    def _apply(self, row: AttemptRow, step: Step) -> None:
        if step.attempt is not None and step.attempt is not row.value:
            self.write_attempt(row, step.attempt)
        if step.target is not None and step.target is not row.target.value:
            self.write_target(row.target, step.target)
        if step.pause is not None and row.campaign.running:
            row.campaign.running, row.campaign.paused_at = False, self.clock.now
            self.database.notes["paused by the provider"] += 1
        if step.note is not None:
            self.database.notes[step.note] += 1

    def adoptions(self, happened: Sequence[Happened]) -> list[Happened]:
        found: list[Happened] = []
        for attempt_id, event in happened:
            row = self.database.attempts[attempt_id]
            if self.proves_an_earlier_call(row.value, event):
                earlier = self._unknown_before(row)
                if earlier is not None:
                    self.database.notes["adoptions"] += 1
                    found.append((earlier.value.id, ProvedByConflict()))
        return found

    def proves_an_earlier_call(self, attempt: Attempt, event: Event) -> bool:
        return doubts.proves_an_earlier_call(attempt, event)

    def _unknown_before(self, row: AttemptRow) -> AttemptRow | None:
        if not self.rules[row.line].conflict_proves:
            return None
        oldest = self.clock.now - conflict_proves_within(self.rules[row.line])
        found = None
        for other in self.database.attempts.values():
            if other is row or other.phone != row.phone or other.line != row.line:
                continue
            unsettled = other.value.state is AttemptState.UNCONFIRMED or other.value.disposition is Disposition.UNKNOWN
            if other.value.id < row.value.id and other.value.claimed_at >= oldest and unsettled:
                found = other
        return found

    def _tell_line(self, line: str, signals: list[Signal]) -> None:
        row = self.database.lines[line]
        health = after_signals(row.health, signals, self.clock.now)
        if health != row.health:
            self.database.notes[f"line {health.state}"] += health.state is not row.health.state
            row.health = health
            self.database.version += 1

    # --- looking again

    def take(self, line: str, state: AttemptState, lease: float) -> list[tuple[AttemptRow, int]]:
        now = self.clock.now
        taken: list[tuple[AttemptRow, int]] = []
        for row in self.database.live.values():
            value = row.value
            if row.line != line or value.state is not state:
                continue
            assert value.next_look_at is not None
            assert value.give_up_at is not None
            if value.next_look_at <= now < value.give_up_at:
                row.value = value._replace(next_look_at=now + lease)
                self.database.version += 1
                taken.append((row, value.token))
        return taken

    def canary(self, line: str, lag: float) -> AttemptRow | None:
        """The newest call of the line that ended before the lag and whose provider id is known."""
        before = self.clock.now - lag
        for row in reversed(self.database.attempts.values()):
            value = row.value
            known = row.line == line and value.state is AttemptState.ENDED and value.call_id is not None
            if known and value.disposition is not Disposition.UNKNOWN and (value.ended_at or 0.0) < before:
                return row
        return None

    def must_not_ring(self, row: AttemptRow, report: CallReport, margin: float) -> bool:
        """Asked of a call that the provider still holds: is its number to be called ``margin`` seconds from now?"""
        listed = row.phone in self.database.not_to_call
        return must_not_ring(report, row.phone, row.campaign.plan, self.clock.now, margin, listed=listed)

    def absence(self, finding: Finding, canary: AttemptRow | None) -> Finding:
        """What the provider's file makes of its lists is part of the protocol: no canary, no proof."""
        return finding

    def other_calls(self, row: AttemptRow) -> frozenset[str]:
        """Calls to the number that certainly are other attempts': each id stood in the answer to its own originate."""
        return self.database.answered_ids(row)

    def not_anothers(self, row: AttemptRow, finding: Finding) -> Finding:
        if finding.kind is not FindingKind.FOUND or finding.call_id is None:
            return finding
        for other in self.database.attempts.values():
            if other.line == row.line and other.value.call_id == finding.call_id and other is not row:
                self.database.notes["found another's"] += 1
                return replace(finding, kind=FindingKind.BLIND, call_id=None, report=None)
        return finding

    def sweep(self) -> None:
        now = self.clock.now
        silent = [r.value.id for r in self.database.live.values() if self.lease_is_over(r.value, now)]
        over = [
            r.value.id
            for r in self.database.live.values()
            if r.value.next_look_at is not None
            and r.value.next_look_at <= now
            and r.value.give_up_at is not None
            and r.value.give_up_at <= now
        ]
        self.record([*((i, LeaseRanOut()) for i in silent), *((i, TimeRanOut()) for i in over)])

    # --- webhooks

    def take_deliveries(self) -> list[InboxRow]:
        now = self.clock.now
        taken = [row for row in self.database.inbox if row.due_at is not None and row.due_at <= now]
        self.database.version += 1
        for row in taken:
            row.due_at, row.tries = now + 30.0, row.tries + 1
        return taken

    def handle_delivery(self, delivery: InboxRow) -> None:
        """Matched and applied in one transaction."""
        report = delivery.report
        self.database.version += 1
        for row in self.database.attempts.values():
            by_ref = report.our_ref is not None and row.ref == report.our_ref
            if row.line == delivery.line and (by_ref or (report.call_id and row.value.call_id == report.call_id)):
                delivery.due_at = None
                self.record([(row.value.id, Reported(replace(report, attempt_id=row.value.id), asked=False))])
                return
        if delivery.tries < WEBHOOK_TRIES:
            delivery.due_at = self.clock.now + 2.0 ** (delivery.tries - 1)
        else:
            delivery.due_at = None
            self.database.notes["orphans"] += report.status is ReportStatus.FINAL

    # --- pace

    def reserve(self, line: str, wants: Sequence[Want], told: Sequence[Correction] = ()) -> reserving.Grant:
        limit = self.database.lines[line].rate * self.database.lines[line].health.pace_factor
        now = round(self.clock.now * pacing.SECOND)
        grant = reserving.reserve(self.books.get(line, reserving.Books()), line, limit, wants, now, told)
        self.books[line] = grant.books
        return grant

    def start_is_missed(self, row: AttemptRow, at: float, now: float) -> bool:
        own = row.campaign.plan.pace.calls_per_second
        limits = (self.database.lines[row.line].rate, *(() if own is None else (own,)))
        return now > at + min(map(pacing.lateness_allowed, limits))

    # --- the list of those not to call

    def opt_out(self, phone: str) -> None:
        now = self.clock.now
        self.database.not_to_call[phone] = now
        for target in self.database.targets.values():
            if target.phone == phone and target.value.state is TargetState.WAITING:
                self.write_target(target, skipped(target.value, "do not call", now))

    # --- writing

    def write_attempt(self, row: AttemptRow, value: Attempt) -> None:
        before = row.value
        row.given_up = row.given_up or value.disposition is Disposition.UNKNOWN
        if value.disposition is Disposition.ANSWERED and before.disposition is not Disposition.ANSWERED:
            row.answer_known_at = self.clock.now
        self.database.write_attempt(row, value)
        self.oracle.attempt_written(row, before, value)

    def write_target(self, row: TargetRow, value: Target) -> None:
        row.value = value
        self.database.version += 1
        self.oracle.target_written(row, value)


def _is_due(value: Target, now: float) -> bool:
    return value.due_at is not None and value.due_at <= now


def _given_back(hand: Hand, answer: Gate) -> GivenBack:
    match answer:
        case Wait(due_at, reason):
            return GivenBack(hand.token, reason, due_at)
        case Skip(reason):
            return GivenBack(hand.token, reason, skip=True)
    return GivenBack(hand.token, "paused, or the line fell silent, at the last moment")
