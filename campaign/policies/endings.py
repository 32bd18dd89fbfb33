"""How an attempt ends and what its target is then: the small moves that :mod:`lifecycle` is made of."""

from typing import Any

from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.events import Step
from campaign.policies.retry import Again, Done, Hold, after_attempt

POISON_AFTER = 3
"""Workers that may die with the same target in hand before it is held for a person."""


def closed(attempt: Attempt, state: AttemptState, ended_at: float, **told: Any) -> Attempt:
    """Out of every hand and off every list of what is looked after. ``told`` are further columns to set."""
    told |= {"state": state, "ended_at": ended_at, "token": attempt.token + 1}
    return attempt._replace(lease_until=None, next_look_at=None, **told)


def end(
    attempt: Attempt,
    target: Target,
    disposition: Disposition,
    state: AttemptState,
    plan: Plan,
    ended_at: float,
    now: float,
) -> Step:
    counted = count(target, attempt, now)
    over = closed(attempt, state, ended_at, counted=True, disposition=disposition)
    if target.attempt_id != attempt.id:
        return Step(over, counted, note="late_result")
    return Step(over, after(counted, disposition, plan, ended_at, now))


def after(target: Target, disposition: Disposition, plan: Plan, ended_at: float, now: float) -> Target:
    tally = dict(target.tally)
    tally[disposition] = tally.get(disposition, 0) + 1
    target = target._replace(tally=tally, conflicts=0, rescues=0)
    if tally.get(Disposition.ANSWERED):
        return done(target, Disposition.ANSWERED, "answered", now)  # this call or, told late, an earlier one
    round_attempts = target.attempts - target.attempts_before_round
    match after_attempt(plan, disposition, round_attempts, tally, ended_at):
        case Again(due_at, reason):
            return waiting(target._replace(disposition=disposition), due_at, reason)
        case Done(reason):
            return done(target, disposition, reason, now)
        case Hold(reason):
            return held(target._replace(disposition=disposition), reason)


def overtaken(target: Target, disposition: Disposition, now: float) -> Target:
    """The truth about an earlier attempt, told after the target has moved on: only an answer calls off what is left
    to do; where a call is in the air, when it ends."""
    if disposition is not Disposition.ANSWERED:
        return target
    if target.state is TargetState.CALLING:
        return target._replace(tally={**target.tally, disposition: target.tally.get(disposition, 0) + 1})
    if target.state in (TargetState.WAITING, TargetState.HELD):
        return done(target, disposition, "answered, reported late", now)
    return target


def count(target: Target, attempt: Attempt, now: float) -> Target:
    """A real attempt counts once, at the moment it is known to be one."""
    if attempt.counted:
        return target
    when = attempt.sent_at if attempt.sent_at is not None else now
    return target._replace(
        attempts=target.attempts + 1,
        first_attempt_at=target.first_attempt_at if target.first_attempt_at is not None else when,
        last_attempt_at=max(when, target.last_attempt_at or when),
    )


def free(target: Target, due_at: float, reason: str, now: float) -> Target:
    """What was in the air was no call: due again, unless an earlier one turned out meanwhile to have been answered."""
    if target.tally.get(Disposition.ANSWERED):
        return done(target, Disposition.ANSWERED, "answered, reported late", now)
    return waiting(target, due_at, reason)


def waiting(target: Target, due_at: float, reason: str) -> Target:
    return target._replace(state=TargetState.WAITING, due_at=due_at, reason=reason, attempt_id=None)


def held(target: Target, reason: str) -> Target:
    return target._replace(state=TargetState.HELD, due_at=None, reason=reason, attempt_id=None)


def skipped(target: Target, reason: str, now: float) -> Target:
    return target._replace(state=TargetState.SKIPPED, due_at=None, reason=reason, attempt_id=None, ended_at=now)


def done(target: Target, disposition: Disposition, reason: str, now: float) -> Target:
    return target._replace(
        state=TargetState.DONE,
        due_at=None,
        attempt_id=None,
        disposition=disposition,
        reason=reason,
        ended_at=now,
    )


def freed(target: Target, now: float, reason: str) -> Target:
    """Due again, unless workers keep dying over it."""
    if target.rescues < POISON_AFTER or target.tally.get(Disposition.ANSWERED):
        return free(target, now, reason, now)
    return held(target, f"{target.rescues} workers died with it in hand; look at their logs, then `campaign settle`")
