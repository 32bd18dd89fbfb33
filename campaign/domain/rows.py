"""An attempt, its target and a line's health as values: what storage reads and writes and the policies decide on.

An attempt and a target are named tuples: each call makes a dozen of them, and a frozen data class of so many fields
takes six times as long to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, LineState, TargetState
from campaign.domain.verdicts import VerdictKind


class Attempt(NamedTuple):
    """The part of a row of ``attempts`` that changes in its life, and what that turns on. ``probe``: it is to test a
    broken line."""

    id: int
    target_id: int
    token: int
    state: AttemptState
    claimed_at: float
    probe: bool = False
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

    @property
    def out_since(self) -> float:
        """From when on its request may be out: no call of it can have begun earlier."""
        return self.sent_at if self.sent_at is not None else self.claimed_at


class Target(NamedTuple):
    """The part of a row of ``targets`` that changes in its life."""

    id: int
    state: TargetState
    due_at: float | None = None
    reason: str | None = None
    attempts: int = 0
    attempts_before_round: int = 0
    conflicts: int = 0
    rescues: int = 0
    tally: Mapping[str, int] = MappingProxyType({})
    attempt_id: int | None = None
    disposition: Disposition | None = None
    first_attempt_at: float | None = None
    last_attempt_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class LineHealth:
    """The part of a row of ``lines`` that calls change. ``pace_factor`` is the share of the pace that is in force."""

    state: LineState = LineState.OPEN
    why: str | None = None
    not_before: float = 0.0
    pace_factor: float = 1.0
    failures: int = 0
    trips: int = 0
    changed_at: float = 0.0
