"""What becomes of a target when an attempt of its ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.plan import OnUnknown, Plan


@dataclass(frozen=True, slots=True)
class Again:
    """The target waits and is due at ``due_at``."""

    due_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The target has its final disposition."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A person must decide."""

    reason: str


Next = Again | Done | Hold


def after_attempt(
    plan: Plan, disposition: Disposition, attempts: int, tally: Mapping[str, int], ended_at: float
) -> Next:
    """Decide from the end of the attempt. ``attempts`` are the real ones of this round and ``tally`` how they ended,
    both with the one that just ended."""
    if disposition is Disposition.UNKNOWN:
        return _after_unknown(plan, attempts, tally, ended_at)
    if disposition in NEVER_RETRIED:
        return Done(str(disposition))
    return _by_rule(plan, disposition, attempts, tally.get(disposition, 1), ended_at)


def _by_rule(plan: Plan, disposition: Disposition, attempts: int, so_often: int, ended_at: float) -> Next:
    delays = plan.retry.get(disposition, ())
    if not delays:
        return Done(f"{disposition}; the plan has no retry for it")
    if so_often > len(delays):
        return Done(f"{disposition}; its {len(delays)} retries are used")
    if attempts >= plan.max_attempts:
        return Done(f"{disposition}; all {plan.max_attempts} attempts are used")
    return Again(ended_at + delays[so_often - 1], f"retry {so_often} of {len(delays)} after {disposition}")


def _after_unknown(plan: Plan, attempts: int, tally: Mapping[str, int], ended_at: float) -> Next:
    match plan.on_unknown:
        case OnUnknown.HOLD:
            return Hold("nobody can tell whether the last attempt rang; decide with `campaign settle`")
        case OnUnknown.DONE:
            return Done("nobody can tell whether the last attempt rang")
        case OnUnknown.RETRY:
            if attempts >= plan.max_attempts:
                return Done(f"unknown; all {plan.max_attempts} attempts are used")
            delays = plan.retry.get(Disposition.ERROR) or (600.0,)
            turn = min(tally.get(Disposition.UNKNOWN, 1), len(delays))
            return Again(ended_at + delays[turn - 1], "retry after unknown, as the plan allows")
