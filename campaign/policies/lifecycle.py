"""The life of an attempt: (attempt, target, event, now) -> what becomes of both. The whole state machine, pure.

The workers, the simulation and the property tests all run :func:`decide`. It is called on rows that were read under
lock, so a decision never meets a state that it did not see. A stale event (an old token) may add evidence that a call
*was* placed; it never frees a number.
"""

from dataclasses import replace
from typing import Any

from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import Verdict, VerdictKind
from campaign.policies.awaiting import doubted, placed
from campaign.policies.doubts import looked, proved_by_conflict
from campaign.policies.endings import closed, end, free, freed, held, skipped
from campaign.policies.events import (
    NOTHING,
    Answered,
    Event,
    GivenBack,
    LeaseRanOut,
    Looked,
    ProvedByConflict,
    Reported,
    Step,
    TimeRanOut,
    holds,
)
from campaign.policies.line_health import Signal, SignalKind
from campaign.policies.looking import LookRules
from campaign.policies.reports import reported

ALL_WELL = Signal(SignalKind.OK)

LONGEST_WAIT = 3600.0
"""Seconds at most for which a Retry-After puts off the target itself, whatever the provider says."""


def decide(attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
    """The one place where the life of an attempt is decided. Total over states and events; raises nothing."""
    match event:
        case Answered():
            return _answered(attempt, target, event, plan, rules, now)
        case GivenBack():
            return _given_back(attempt, target, event, now)
        case LeaseRanOut():
            return _lease_ran_out(attempt, target, plan, rules, now)
        case Reported():
            return reported(attempt, target, event, plan, rules, now)
        case Looked():
            return looked(attempt, target, event, plan, rules, now)
        case ProvedByConflict():
            return proved_by_conflict(attempt, target, rules, now)
        case TimeRanOut():
            return _time_ran_out(attempt, target, plan, now)


def may_pause(event: Event) -> bool:
    """May the step that this event leads to pause its campaign? Who records it locks the campaign first."""
    return isinstance(event, Answered) and event.verdict.kind is VerdictKind.PAUSE


# --- the provider answered -------------------------------------------------------------------------------------------


def _answered(attempt: Attempt, target: Target, event: Answered, plan: Plan, rules: LookRules, now: float) -> Step:
    verdict = event.verdict
    if not holds(attempt, event.token, AttemptState.SENDING):
        return _stale_answer(attempt, target, verdict, rules, now)
    told: dict[str, Any] = {"verdict": verdict.kind, "raw": verdict.raw or None, "reason": verdict.reason or None}
    if verdict.kind is VerdictKind.PLACED:
        return placed(attempt, target, verdict.call_id, rules, now, ALL_WELL, **told)
    attempt = attempt._replace(**told)
    match verdict.kind:
        case VerdictKind.UNCONFIRMED:
            signal = Signal(SignalKind.FAILED, verdict.reason)
            return replace(doubted(attempt, target, verdict.reason, rules, now), signal=signal)
        case VerdictKind.REFUSED_CALL:
            return _refused_for_good(attempt, target, Disposition.ERROR, plan, now)
        case VerdictKind.BAD_NUMBER:
            return _refused_for_good(attempt, target, Disposition.INVALID_NUMBER, plan, now)
        case VerdictKind.CONFLICT:
            return _conflict(attempt, target, plan, now)
        case VerdictKind.THROTTLED:
            signal = Signal(SignalKind.THROTTLED, verdict.reason, verdict.retry_after)
            return _not_counted(attempt, target, AttemptState.REFUSED, now, "throttled", signal)
        case VerdictKind.LINE_NOT_READY:
            signal = Signal(SignalKind.NOT_READY, verdict.reason, verdict.retry_after)
            return _not_counted(attempt, target, AttemptState.REFUSED, now, "line not ready", signal)
        case VerdictKind.NOT_SENT:
            signal = Signal(SignalKind.FAILED, verdict.reason)
            return _not_counted(attempt, target, AttemptState.RELEASED, now, "not sent", signal)
        case VerdictKind.PAUSE:
            step = _not_counted(attempt, target, AttemptState.REFUSED, now, "campaign paused", None)
            return replace(step, pause=verdict)


def _stale_answer(attempt: Attempt, target: Target, verdict: Verdict, rules: LookRules, now: float) -> Step:
    """Too late to decide anything, but `placed` is still the truth about this very attempt, and its id is its own."""
    if verdict.kind is not VerdictKind.PLACED:
        return Step(note="late_answer")
    if attempt.state is AttemptState.UNCONFIRMED:
        return replace(placed(attempt, target, verdict.call_id, rules, now, verdict=verdict.kind), note="late_answer")
    if verdict.call_id and attempt.call_id in (None, verdict.call_id):
        return Step(attempt._replace(call_id=verdict.call_id, verdict=verdict.kind), note="late_answer")
    return Step(note="late_answer")


def _refused_for_good(attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, now: float) -> Step:
    step = end(attempt, target, disposition, AttemptState.REFUSED, plan, now, now)
    return replace(step, signal=ALL_WELL)


def _conflict(attempt: Attempt, target: Target, plan: Plan, now: float) -> Step:
    target = target._replace(conflicts=target.conflicts + 1)
    if target.conflicts >= plan.max_conflicts:
        said = f"the provider said `already queued` {target.conflicts} times; decide with `campaign settle`"
        then = held(target, said)
    else:
        then = free(target, now + plan.conflict_interval, "conflict", now)
    return Step(closed(attempt, AttemptState.REFUSED, now), then, ALL_WELL, note="conflict")


def _not_counted(
    attempt: Attempt, target: Target, state: AttemptState, now: float, reason: str, signal: Signal | None
) -> Step:
    """The number was not rung and the target pays nothing. The line's own silence spaces the next try."""
    wait = signal.retry_after if signal and signal.retry_after else 1.0
    then = free(target, now + min(wait, LONGEST_WAIT), reason, now)
    return Step(closed(attempt, state, now), then, signal, note=reason.replace(" ", "_"))


# --- nothing left, or nobody knows -----------------------------------------------------------------------------------


def _given_back(attempt: Attempt, target: Target, event: GivenBack, now: float) -> Step:
    if not holds(attempt, event.token, AttemptState.CLAIMED, AttemptState.SENDING):
        return Step(note="late_give_back")
    released = closed(attempt, AttemptState.RELEASED, now, reason=event.reason)
    if event.skip:
        return Step(released, skipped(target, event.reason, now), _untried(attempt))
    due_at = now if event.due_at is None else event.due_at
    return Step(released, free(target, due_at, event.reason, now), _untried(attempt))


def _untried(attempt: Attempt) -> Signal | None:
    return Signal(SignalKind.UNTRIED) if attempt.probe else None


def _lease_ran_out(attempt: Attempt, target: Target, plan: Plan, rules: LookRules, now: float) -> Step:
    if attempt.lease_until is None or attempt.lease_until > now:
        return NOTHING
    target = target._replace(rescues=target.rescues + 1)
    if attempt.state is AttemptState.SENDING:
        return doubted(attempt, target, "the worker died with the request in hand", rules, now)
    if attempt.state is not AttemptState.CLAIMED:
        return NOTHING
    released = closed(attempt, AttemptState.RELEASED, now, reason="lease ran out before anything was sent")
    return Step(released, freed(target, now, "the worker that held it died"), _untried(attempt), note="rescue")


def _time_ran_out(attempt: Attempt, target: Target, plan: Plan, now: float) -> Step:
    if attempt.state not in (AttemptState.PLACED, AttemptState.UNCONFIRMED):
        return NOTHING
    if attempt.give_up_at is None or attempt.give_up_at > now:
        return NOTHING
    reason = "no result came" if attempt.state is AttemptState.PLACED else "nothing could show whether it was placed"
    told = attempt._replace(reason=reason)
    return replace(end(told, target, Disposition.UNKNOWN, AttemptState.ENDED, plan, now, now), note="gave_up")
