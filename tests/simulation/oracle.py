"""The judge: sees the ground truth that no worker sees, and stops the world where something must never happen."""

from collections import Counter, defaultdict, deque
from math import floor

from campaign.domain.dispositions import Disposition
from campaign.domain.plan import OnUnknown, Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState
from tests.simulation.database import AttemptRow, Database, TargetRow
from tests.simulation.provider import Call, Exchange, Provider

SENT_AFTER_COMMIT = 1.6
"""Seconds between the commit of `sending` and the first byte: the workers' budget and a blink."""

DAY = 86_400.0
_CLOSED = {AttemptState.NOT_PLACED, AttemptState.RELEASED, AttemptState.REFUSED}
_LOOKED_AT = {AttemptState.PLACED, AttemptState.UNCONFIRMED}
_LEASED = {AttemptState.CLAIMED, AttemptState.SENDING}


class Violation(Exception):
    """An invariant is broken; the text is the story."""


def is_open(plan: Plan, at: float) -> bool:
    """Calling hours of the simulation's plans (every day, UTC), by arithmetic of its own."""
    if plan.hours is None:
        return True
    second = at % DAY
    spans = [(w.opens.hour * 3600 + w.opens.minute * 60, w.closes.hour * 3600 + w.closes.minute * 60)
             for w in plan.hours.windows]  # fmt: skip
    return any(opens <= second < closes for opens, closes in spans)


class Oracle:
    def __init__(self, database: Database, providers: dict[str, Provider]) -> None:
        self.database = database
        self.providers = providers
        self.departures: defaultdict[str | int, deque[float]] = defaultdict(deque)
        """By line, and by campaign with a pace of its own."""
        self.flushes: list[float] = []
        self.rings = 0
        self.seen: Counter[str] = Counter()

    # --- the way out

    def sending(self, row: AttemptRow, now: float) -> None:
        """`sending` was committed: every gate must have been open at that moment."""
        self._must(row.campaign.running, row, "was sent while its campaign is paused")
        self._must(row.phone not in self.database.not_to_call, row, "was sent after the opt-out")
        self._must(is_open(row.campaign.plan, now), row, "was sent outside calling hours")
        for other in self._of_target(row):
            known_at = other.answer_known_at
            fine = known_at is None or known_at > row.value.claimed_at or row.target.signed > 0
            self._must(fine, row, "was claimed after an answered call")
            unsigned = row.campaign.plan.on_unknown is not OnUnknown.RETRY and not row.target.signed
            unknown = other.value.disposition is Disposition.UNKNOWN
            self._must(not (unknown and unsigned), row, "was sent after an unknown end that nobody has signed for")

    def departed(self, row: AttemptRow, now: float) -> None:
        """The first byte leaves."""
        paused_at = row.campaign.paused_at
        late = paused_at is not None and now > paused_at + SENT_AFTER_COMMIT
        self._must(not late, row, "left after the pause")
        self._in_pace(row, row.line, self.database.lines[row.line].rate, now)
        own = row.campaign.plan.pace.calls_per_second
        if own is not None:
            self._in_pace(row, row.campaign.id, own, now)

    def _in_pace(self, row: AttemptRow, whose: str | int, rate: float, now: float) -> None:
        times = self.departures[whose]
        times.append(now)
        while times[0] <= now - 1.0:
            times.popleft()
        flushed = sum(1 for at in self.flushes if now - 2.5 < at <= now)
        told = f"is one of {len(times)} in a second at {rate}/s of {whose}"
        self._must(len(times) <= floor(rate) + 1 + flushed, row, told)

    def taken(self, row: AttemptRow, exchange: Exchange, call: Call, now: float) -> None:
        """The provider has taken the call: the phone will ring, at once or when its queue lets it."""
        self.rings += 1
        self.seen["rings from a queue"] += call.rings_at > call.taken_at
        value, provider = row.value, self.providers[row.line]
        self._must(sum(1 for c in provider.calls if c.ref == row.ref) == 1, row, "rang twice")
        by_hand = value.state is AttemptState.ENDED and row.target.by_hand
        expected = value.state in (AttemptState.SENDING, AttemptState.UNCONFIRMED, AttemptState.PLACED) or by_hand
        self._must(expected, row, f"rings though its row says {value.state}")
        self._earlier_rings(row)
        self._concurrency(row, call, now)
        if not exchange.late and provider.scenario.margin >= provider.scenario.queue:
            self._must(is_open(row.campaign.plan, call.rings_at), row, "rings outside calling hours")

    def has_its_turn(self, row: AttemptRow, call: Call) -> None:
        """What was held has its turn. Where the queue is longer than the margin, it must have been taken back."""
        self._must(call.never_rang or is_open(row.campaign.plan, call.rings_at), row, "rings outside calling hours")

    def _earlier_rings(self, row: AttemptRow) -> None:
        rang = 1
        for other in self._of_target(row):
            if not self._rang(other):
                continue
            rang += 1
            closed = other.value.state is AttemptState.ENDED or (
                other.value.state is AttemptState.REFUSED and other.value.disposition is not None
            )
            self._must(
                closed or row.target.by_hand,
                row,
                f"rings while attempt {other.value.id}, which rang, is {other.value.state}",
            )
        allowed = row.campaign.plan.max_attempts + row.target.signed
        self._must(rang <= allowed, row, f"is ring {rang} of {allowed}")

    def _concurrency(self, row: AttemptRow, call: Call, now: float) -> None:
        provider = self.providers[row.line]
        active = [c for c in provider.calls if c.ends_at > now and not self._given_up(c)]
        line = self.database.lines[row.line]
        self._must(len(active) <= line.max_in_flight, row, f"is one of {len(active)} in flight")
        most = row.campaign.plan.pace.max_in_flight
        mine = sum(1 for c in active if self.database.attempts[c.attempt_id].campaign is row.campaign)
        self._must(most is None or mine <= most, row, f"is one of {mine} of its campaign in flight")
        for other_provider in self.providers.values():
            for c in other_provider.calls:
                on_a_call = c is not call and c.phone == row.phone and c.ends_at > now and not self._given_up(c)
                self._must(not on_a_call, row, "rings a number that is in a call of ours")

    def _given_up(self, call: Call) -> bool:
        row = self.database.attempts[call.attempt_id]
        return row.given_up or row.target.by_hand

    # --- rows

    def attempt_written(self, row: AttemptRow, before: Attempt, value: Attempt) -> None:
        self._must(value.token >= before.token, row, "lost a token")
        if value.state is not before.state and before.state in LIVE_ATTEMPT_STATES:
            moved = value.token > before.token or before.state is AttemptState.CLAIMED
            self._must(moved, row, "changed hands without a token")
        if value.state in _LEASED:
            self._must(value.lease_until is not None, row, "has no lease")
        if value.state in _LOOKED_AT:
            looked = value.next_look_at is not None and value.give_up_at is not None
            self._must(looked, row, "has nobody who looks again")
        if before.state not in LIVE_ATTEMPT_STATES:
            self._final_stays(row, before, value)
        elif value.state in _CLOSED and value.disposition is None:
            self._must(not self._rang(row) and not self._on_its_way(row), row, f"is {value.state} though it rings")

    def _final_stays(self, row: AttemptRow, before: Attempt, value: Attempt) -> None:
        same = value.state is before.state and value.disposition is before.disposition
        unplaced = before.state in _CLOSED and before.disposition is None and value.state is AttemptState.ENDED
        told = before.disposition is Disposition.UNKNOWN and value.state in (AttemptState.ENDED, AttemptState.PLACED)
        self._must(same or told or unplaced, row, f"was final ({before.state} {before.disposition})")
        if unplaced:
            self.seen["late placement"] += 1

    def target_written(self, row: TargetRow, value: Target) -> None:
        if value.state is TargetState.WAITING:
            fine = value.due_at is not None and value.attempt_id is None and bool(value.reason)
        elif value.state is TargetState.CALLING:
            fine = value.attempt_id is not None and value.due_at is None
        else:
            fine = value.due_at is None and value.attempt_id is None
            fine = fine and (value.state is not TargetState.DONE or value.disposition is not None)
        if not fine:
            raise Violation(f"target {value.id} is {value.state} with due_at {value.due_at}, {value.attempt_id}")

    def consistent(self, target: TargetRow) -> None:
        """After a transaction: a target is calling exactly while one attempt of it is live."""
        live = [row for row in self.database.live.values() if row.target is target]
        value = target.value
        fine = (
            len(live) == 1 and value.attempt_id == live[0].value.id
            if value.state is TargetState.CALLING
            else not live
        )  # fmt: skip
        if not fine:
            names = ", ".join(f"{row.value.id} {row.value.state}" for row in live) or "none"
            raise Violation(f"target {value.id} is {value.state} ({value.attempt_id}) with live attempts: {names}")

    # --- the end

    def at_the_end(self, now: float) -> None:
        for target in self.database.targets.values():
            value = target.value
            if value.state in (TargetState.WAITING, TargetState.CALLING):
                raise Violation(f"target {value.id} is still {value.state} at the end: {value.reason}")
            counted = sum(1 for row in self._attempts_of(target) if row.value.counted)
            if value.attempts != counted:
                raise Violation(f"target {value.id} counts {value.attempts} attempts of {counted}")
        for row in self.database.attempts.values():
            self._truthful(row)

    def _truthful(self, row: AttemptRow) -> None:
        value = row.value
        call = next((c for c in self.providers[row.line].calls if c.ref == row.ref), None)
        unknown = value.disposition is Disposition.UNKNOWN
        refused = value.state is AttemptState.REFUSED and value.disposition is not None
        by_hand = row.target.by_hand
        rang = self._rang(row)
        self._must(by_hand or row.given_up or value.counted == (rang or unknown or refused), row,
                   f"counts {value.counted}, rang {rang}, ended {value.disposition}")  # fmt: skip
        if call is not None and not unknown and not by_hand:
            self._must(value.disposition is call.disposition, row,
                       f"ended {value.disposition}, in truth {call.disposition}")  # fmt: skip

    def _rang(self, row: AttemptRow) -> bool:
        return any(call.ref == row.ref and not call.never_rang for call in self.providers[row.line].calls)

    def _on_its_way(self, row: AttemptRow) -> bool:
        return any(e.row is row for e in self.providers[row.line].on_their_way)

    def _of_target(self, row: AttemptRow) -> list[AttemptRow]:
        return [other for other in self._attempts_of(row.target) if other is not row]

    def _attempts_of(self, target: TargetRow) -> list[AttemptRow]:
        return [row for row in self.database.attempts.values() if row.target is target]

    @staticmethod
    def _must(fine: bool, row: AttemptRow, story: str) -> None:
        if not fine:
            value = row.value
            raise Violation(f"attempt {value.id} of target {value.target_id} ({value.state}) {story}")
