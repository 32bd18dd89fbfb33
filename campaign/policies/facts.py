"""What the decisions about an attempt read, hear and answer: rows, events and steps as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from campaign.domain.calls import CallReport, Finding
from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import Verdict, VerdictKind
from campaign.policies.line_health import Signal


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the decisions read and write of a row of ``attempts``."""

    id: int
    target_id: int
    token: int
    state: AttemptState
    claimed_at: float
    lease_until: float | None = None
    sent_at: float | None = None
    placed_at: float | None = None
    next_look_at: float | None = None
    looks: int = 0
    absences: int = 0
    give_up_at: float | None = None
    call_id: str | None = None
    counted: bool = False
    ended_at: float | None = None
    disposition: Disposition | None = None
    verdict: VerdictKind | None = None
    raw: str | None = None
    reason: str | None = None
    answered_at: float | None = None
    talk_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the decisions read and write of a row of ``targets``."""

    id: int
    state: TargetState
    due_at: float | None = None
    reason: str | None = None
    attempts: int = 0
    attempts_before_round: int = 0
    conflicts: int = 0
    rescues: int = 0
    tally: Mapping[str, int] = field(default_factory=dict)
    attempt_id: int | None = None
    disposition: Disposition | None = None
    first_attempt_at: float | None = None
    last_attempt_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The provider's answer to the originate, from the worker that holds ``token``."""

    token: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The holder of ``token`` swears that nothing left. ``due_at`` None is at once."""

    token: int
    reason: str
    due_at: float | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """The sweeper saw an attempt whose holder is silent."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A poll or a webhook said something about the call."""

    report: CallReport


@dataclass(frozen=True, slots=True)
class Looked:
    """Settle looked for the attempt that had ``token``."""

    token: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class ProvedByConflict:
    """A later originate for the same number met a conflict that no live attempt of ours explains."""


@dataclass(frozen=True, slots=True)
class TimeRanOut:
    """``give_up_at`` has come."""


Event = Answered | GivenBack | LeaseRanOut | Reported | Looked | ProvedByConflict | TimeRanOut


@dataclass(frozen=True, slots=True)
class Step:
    """What an event does. A field is None where nothing changes. ``note`` is the kind of an event row to write."""

    attempt: Attempt | None = None
    target: Target | None = None
    signal: Signal | None = None
    pause: Verdict | None = None
    note: str | None = None


NOTHING = Step()
