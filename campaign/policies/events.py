"""What may happen to an attempt, and the step that a decision answers with."""

from dataclasses import dataclass

from campaign.domain.calls import CallReport, Finding
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import Verdict
from campaign.policies.line_health import Signal


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
    """A poll or, where nobody had ``asked``, a webhook said something about the call."""

    report: CallReport
    asked: bool = True


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


def holds(attempt: Attempt, token: int, *states: AttemptState) -> bool:
    """Does an event with this token come from the hand that has the attempt now, in one of ``states``?"""
    return attempt.token == token and attempt.state in states
