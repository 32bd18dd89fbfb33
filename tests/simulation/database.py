"""The simulated database: rows in dictionaries, a transaction is one step, and what the schema makes impossible."""

from collections import Counter

from campaign.domain.calls import CallReport
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, LineHealth, Target
from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState
from campaign.domain.verdicts import VerdictKind


class Away(Exception):
    """The database did not answer, or the COMMIT's answer was lost: the caller cannot know what happened."""


class IndexRefused(Exception):
    """``one_live_attempt_per_number`` refused a row. In the real protocol that must never surface from a recording."""


class Campaign:
    __slots__ = ("id", "line", "paused_at", "plan", "running")

    def __init__(self, number: int, line: str, plan: Plan) -> None:
        self.id = number
        self.line = line
        self.plan = plan
        self.running = True
        self.paused_at: float | None = None


class TargetRow:
    __slots__ = ("by_hand", "campaign", "phone", "signed", "value")

    def __init__(self, value: Target, campaign: Campaign, phone: str) -> None:
        self.value = value
        self.campaign = campaign
        self.phone = phone
        self.by_hand = False
        """A person has decided about a doubt, rightly or wrongly: what follows from that is theirs."""
        self.signed = 0
        """Further rings that a person or a retry batch has asked for, beyond the plan's own."""


class AttemptRow:
    __slots__ = ("answer_known_at", "campaign", "given_up", "line", "phone", "ref", "target", "value")

    def __init__(self, value: Attempt, target: TargetRow, line: str, ref: str) -> None:
        self.value = value
        self.target = target
        self.campaign = target.campaign
        self.line = line
        self.phone = target.phone
        self.ref = ref
        self.answer_known_at: float | None = None
        self.given_up = False
        """It has ended unknown: the plan or a person has signed for what follows, also if it comes back to life."""


class InboxRow:
    __slots__ = ("due_at", "line", "report", "tries")

    def __init__(self, due_at: float, line: str, report: CallReport) -> None:
        self.due_at: float | None = due_at
        self.line = line
        self.report = report
        self.tries = 0


class LineRow:
    __slots__ = ("health", "max_in_flight", "name", "rate")

    def __init__(self, name: str, rate: float, max_in_flight: int) -> None:
        self.name = name
        self.health = LineHealth()
        self.rate = rate
        self.max_in_flight = max_in_flight


class Database:
    def __init__(self) -> None:
        self.campaigns: dict[int, Campaign] = {}
        self.targets: dict[int, TargetRow] = {}
        self.attempts: dict[int, AttemptRow] = {}
        self.live: dict[int, AttemptRow] = {}
        self.lines: dict[str, LineRow] = {}
        self.inbox: list[InboxRow] = []
        self.not_to_call: dict[str, float] = {}
        self.notes: Counter[str] = Counter()
        self.version = 0
        self.indexed = True
        self._due_version, self._due = -1, 0.0

    def live_on(self, phone: str) -> AttemptRow | None:
        for row in self.live.values():
            if row.phone == phone:
                return row
        return None

    def answered_ids(self, row: AttemptRow) -> frozenset[str]:
        """Ids that stood in the answers to other originates to the same number through the same line."""
        rows = [r for r in self.attempts.values() if r is not row and (r.phone, r.line) == (row.phone, row.line)]
        return frozenset(r.value.call_id for r in rows if r.value.call_id and r.value.verdict is VerdictKind.PLACED)

    def insert(self, target: TargetRow, line: str, now: float, lease: float, *, probe: bool) -> AttemptRow:
        number = len(self.attempts) + 1
        value = Attempt(number, target.value.id, 1, AttemptState.CLAIMED, now, probe, lease_until=now + lease)
        row = AttemptRow(value, target, line, f"ref-{number}")
        self.attempts[number] = row
        self.live[number] = row
        self.version += 1
        return row

    def write_attempt(self, row: AttemptRow, value: Attempt) -> None:
        """The partial unique index is immediate."""
        if value.state in LIVE_ATTEMPT_STATES:
            other = self.live_on(row.phone)
            if self.indexed and other is not None and other is not row:
                raise IndexRefused(f"attempt {value.id} cannot be {value.state}: {other.value.id} is live")
            self.live[value.id] = row
        else:
            self.live.pop(value.id, None)
        row.value = value
        self.version += 1

    def next_due(self) -> float:
        """When a tick will next find something to do; infinity where nothing is left to happen."""
        if self._due_version != self.version:
            self._due_version, self._due = self.version, self._soonest()
        return self._due

    def _soonest(self) -> float:
        soonest = float("inf")
        for row in self.live.values():
            attempt = row.value
            when = attempt.lease_until if attempt.lease_until is not None else attempt.next_look_at
            assert when is not None
            if when < soonest:
                soonest = when
        for target in self.targets.values():
            value = target.value
            if value.state is TargetState.WAITING and target.campaign.running:
                assert value.due_at is not None
                when = max(value.due_at, self.lines[target.campaign.line].health.not_before)
                if when < soonest and self._has_room(target.campaign):
                    soonest = when
        for delivery in self.inbox:
            if delivery.due_at is not None and delivery.due_at < soonest:
                soonest = delivery.due_at
        return soonest

    def _has_room(self, campaign: Campaign) -> bool:
        most = campaign.plan.pace.max_in_flight
        if most is not None and sum(1 for row in self.live.values() if row.campaign is campaign) >= most:
            return False
        line = self.lines[campaign.line]
        return sum(1 for row in self.live.values() if row.line == line.name) < line.max_in_flight
