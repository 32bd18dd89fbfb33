"""The life of an attempt: (attempt, target, event, now) -> what becomes of both. The whole state machine, pure.

The workers, the simulation and the property tests all run :func:`decide`. It is called on rows that were read under
lock, so a decision never meets a state that it did not see. A stale event (an old token) may add evidence that a call
*was* placed; it never frees a number.
"""

from dataclasses import replace
from typing import Any

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import Verdict, VerdictKind
from campaign.policies import looking
from campaign.policies.endings import after, count, end, free, freed, overtaken, skipped
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
)
from campaign.policies.line_health import Signal, SignalKind
from campaign.policies.looking import LookRules

ALL_WELL = Signal(SignalKind.OK)

PROOFS_NEEDED = 2
"""Looks in a row that must each prove absence before a number is dialled again."""


def decide(attempt: Attempt, target: Target, event: Event, plan: Plan, rules: LookRules, now: float) -> Step:
    """The one place where the life of an attempt is decided. Total over states and events; raises nothing."""
    match event:
        case Answered():
            return _answered(attempt, target, event, plan, rules, now)
        case GivenBack():
            return _given_back(attempt, target, event, now)
        case LeaseRanOut():
            return _lease_ran_out(attempt, target, plan, rules, now)
        case Reported(report):
            return _reported(attempt, target, report, plan, rules, now)
        case Looked():
            return _looked(attempt, target, event, plan, rules, now)
        case ProvedByConflict():
            return _proved_by_conflict(attempt, target, rules, now)
        case TimeRanOut():
            return _time_ran_out(attempt, target, plan, now)


def _holds(attempt: Attempt, token: int, *states: AttemptState) -> bool:
    return attempt.token == token and attempt.state in states


# --- the provider answered -------------------------------------------------------------------------------------------


def _answered(attempt: Attempt, target: Target, event: Answered, plan: Plan, rules: LookRules, now: float) -> Step:
    verdict = event.verdict
    if not _holds(attempt, event.token, AttemptState.SENDING):
        return _stale_answer(attempt, target, verdict, rules, now)
    told: dict[str, Any] = {"verdict": verdict.kind, "raw": verdict.raw or None, "reason": verdict.reason or None}
    if verdict.kind is VerdictKind.PLACED:
        return _placed(attempt, target, verdict.call_id, rules, now, ALL_WELL, **told)
    attempt = replace(attempt, **told)
    match verdict.kind:
        case VerdictKind.UNCONFIRMED:
            signal = Signal(SignalKind.FAILED, verdict.reason)
            return replace(_doubt(attempt, target, verdict.reason, rules, now), signal=signal)
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
    """Too late to decide anything, but `placed` is still the truth about this very attempt."""
    if verdict.kind is VerdictKind.PLACED and attempt.state is AttemptState.UNCONFIRMED:
        return replace(_placed(attempt, target, verdict.call_id, rules, now), note="late_answer")
    if verdict.kind is VerdictKind.PLACED and verdict.call_id and attempt.call_id is None:
        return Step(attempt=replace(attempt, call_id=verdict.call_id), note="late_answer")
    return Step(note="late_answer")


def _placed(
    attempt: Attempt,
    target: Target,
    call_id: str | None,
    rules: LookRules,
    now: float,
    signal: Signal | None = None,
    **told: Any,
) -> Step:
    counted = count(target, attempt, now)
    attempt = replace(
        attempt,
        state=AttemptState.PLACED,
        token=attempt.token + 1,
        lease_until=None,
        placed_at=attempt.placed_at or now,
        call_id=call_id or attempt.call_id,
        counted=True,
        looks=0,
        absences=0,
        next_look_at=looking.first_result_look(rules, now),
        give_up_at=now + rules.poll.give_up_after,
        **told,
    )
    return Step(attempt, counted, signal)


def _doubt(attempt: Attempt, target: Target, reason: str, rules: LookRules, now: float) -> Step:
    give_up_at = looking.doubt_gives_up_at(rules, now)
    attempt = replace(
        attempt,
        state=AttemptState.UNCONFIRMED,
        token=attempt.token + 1,
        lease_until=None,
        reason=reason,
        looks=0,
        absences=0,
        next_look_at=looking.first_doubt_look(rules, now, give_up_at),
        give_up_at=give_up_at,
    )
    return Step(attempt, replace(target, reason="unconfirmed"), note="doubt")


def _refused_for_good(attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, now: float) -> Step:
    step = end(attempt, target, disposition, AttemptState.REFUSED, plan, now, now)
    return replace(step, signal=ALL_WELL)


def _conflict(attempt: Attempt, target: Target, plan: Plan, now: float) -> Step:
    conflicts = target.conflicts + 1
    step = _not_counted(attempt, target, AttemptState.REFUSED, now, "conflict", ALL_WELL)
    if conflicts >= plan.max_conflicts:
        freed = replace(
            target,
            state=TargetState.HELD,
            due_at=None,
            attempt_id=None,
            conflicts=conflicts,
            reason=f"the provider said `already queued` {conflicts} times; decide with `campaign settle`",
        )
    else:
        freed = free(target, now + plan.conflict_interval, "conflict", now)
    return replace(step, target=replace(freed, conflicts=conflicts), note="conflict")


def _not_counted(
    attempt: Attempt, target: Target, state: AttemptState, now: float, reason: str, signal: Signal | None
) -> Step:
    """The number was not rung and the target pays nothing. The line's own silence spaces the next try."""
    closed = replace(attempt, state=state, token=attempt.token + 1, lease_until=None, ended_at=now)
    wait = signal.retry_after if signal and signal.retry_after else 1.0
    due_at = now + min(wait, 3600.0)
    return Step(closed, free(target, due_at, reason, now), signal=signal, note=reason.replace(" ", "_"))


# --- nothing left, or nobody knows -----------------------------------------------------------------------------------


def _given_back(attempt: Attempt, target: Target, event: GivenBack, now: float) -> Step:
    if not _holds(attempt, event.token, AttemptState.CLAIMED, AttemptState.SENDING):
        return Step(note="late_give_back")
    closed = replace(
        attempt,
        state=AttemptState.RELEASED,
        token=attempt.token + 1,
        lease_until=None,
        ended_at=now,
        reason=event.reason,
    )
    if event.skip:
        return Step(closed, skipped(target, event.reason, now))
    due_at = now if event.due_at is None else event.due_at
    return Step(closed, free(target, due_at, event.reason, now))


def _lease_ran_out(attempt: Attempt, target: Target, plan: Plan, rules: LookRules, now: float) -> Step:
    if attempt.lease_until is None or attempt.lease_until > now:
        return NOTHING
    target = replace(target, rescues=target.rescues + 1)
    if attempt.state is AttemptState.SENDING:
        return _doubt(attempt, target, "the worker died with the request in hand", rules, now)
    if attempt.state is not AttemptState.CLAIMED:
        return NOTHING
    closed = replace(
        attempt,
        state=AttemptState.RELEASED,
        token=attempt.token + 1,
        lease_until=None,
        ended_at=now,
        reason="lease ran out before anything was sent",
    )
    return Step(closed, freed(target, now, "the worker that held it died"), note="rescue")


# --- the provider reported -------------------------------------------------------------------------------------------

_ASKED = frozenset({AttemptState.PLACED, AttemptState.UNCONFIRMED, AttemptState.SENDING})
_THOUGHT_UNPLACED = frozenset({AttemptState.NOT_PLACED, AttemptState.RELEASED, AttemptState.REFUSED})


def _reported(attempt: Attempt, target: Target, report: CallReport, plan: Plan, rules: LookRules, now: float) -> Step:
    if report.status is ReportStatus.FINAL and report.disposition is not None:
        return _final_report(attempt, target, report, plan, now)
    if report.status is ReportStatus.PENDING and attempt.state in (AttemptState.UNCONFIRMED, AttemptState.SENDING):
        return _placed(replace(attempt, raw=report.raw or attempt.raw), target, report.call_id, rules, now)
    if attempt.state is AttemptState.PLACED:
        return Step(attempt=_look_later(attempt, report, rules, now))
    return NOTHING


def _look_later(attempt: Attempt, report: CallReport, rules: LookRules, now: float) -> Attempt:
    give_up_at = attempt.give_up_at if attempt.give_up_at is not None else now + rules.poll.give_up_after
    when = looking.next_result_look(rules, attempt.looks, give_up_at, now)
    call_id = attempt.call_id or report.call_id
    return replace(
        attempt,
        looks=attempt.looks + 1,
        next_look_at=when,
        give_up_at=give_up_at,
        call_id=call_id,
        raw=report.raw or attempt.raw,
    )


def _final_report(attempt: Attempt, target: Target, report: CallReport, plan: Plan, now: float) -> Step:
    assert report.disposition is not None
    if report.disposition is Disposition.UNKNOWN and attempt.state not in _ASKED:
        return Step(note="late_result")
    told = replace(
        attempt,
        call_id=attempt.call_id or report.call_id,
        raw=report.raw or attempt.raw,
        reason=report.reason or attempt.reason,
        answered_at=report.answered_at,
        talk_seconds=report.talk_seconds,
    )
    ended_at = _ended_at(attempt, report, now)
    if attempt.state in _ASKED:
        return end(told, target, report.disposition, AttemptState.ENDED, plan, ended_at, now)
    if attempt.disposition is Disposition.UNKNOWN:
        return _truth_after_unknown(told, target, report.disposition, plan, ended_at, now)
    if attempt.disposition is None and attempt.state in _THOUGHT_UNPLACED:
        return _truth_after_absence(told, target, report.disposition, plan, ended_at, now)
    return Step(note="late_result")


def _ended_at(attempt: Attempt, report: CallReport, now: float) -> float:
    """Within the attempt's life: a provider's clock that is hours behind must not make the next try due at once."""
    if report.ended_at is None:
        return now
    return min(max(report.ended_at, attempt.sent_at or attempt.claimed_at), now)


def _truth_after_unknown(
    attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, ended_at: float, now: float
) -> Step:
    """A true disposition may replace `unknown`; the target follows unless it has moved on to another attempt."""
    told = replace(attempt, disposition=disposition, ended_at=attempt.ended_at or now)
    if target.disposition is Disposition.UNKNOWN and _is_latest(attempt, target):
        settled = after(_without_unknown(target), disposition, plan, ended_at, now)
        return Step(told, settled, note="unknown_resolved")
    return Step(told, overtaken(target, disposition, now), note="unknown_resolved")


def _without_unknown(target: Target) -> Target:
    left = max(target.tally.get(Disposition.UNKNOWN, 1) - 1, 0)
    return replace(target, tally={**target.tally, Disposition.UNKNOWN: left})


def _is_latest(attempt: Attempt, target: Target) -> bool:
    """No later attempt of the target is live or has counted, so what this one turned out to be decides."""
    if target.state is TargetState.CALLING:
        return target.attempt_id == attempt.id
    sent_at = attempt.sent_at if attempt.sent_at is not None else attempt.claimed_at
    return target.last_attempt_at is None or sent_at >= target.last_attempt_at


def _truth_after_absence(
    attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, ended_at: float, now: float
) -> Step:
    """The provider placed it after all, later than every grace (guarantees.md, residual risk a)."""
    told = replace(attempt, state=AttemptState.ENDED, counted=True, disposition=disposition, ended_at=now)
    counted = count(target, attempt, now)
    if target.state is TargetState.WAITING and _is_latest(attempt, target):
        return Step(told, after(counted, disposition, plan, ended_at, now), note="late_placement")
    return Step(told, overtaken(counted, disposition, now), note="late_placement")


# --- settle looked ---------------------------------------------------------------------------------------------------


def _looked(attempt: Attempt, target: Target, event: Looked, plan: Plan, rules: LookRules, now: float) -> Step:
    finding = event.finding
    if finding.kind is FindingKind.FOUND and attempt.state is AttemptState.UNCONFIRMED:
        return _found(attempt, target, finding, plan, rules, now)  # however long ago: it was seen
    if not _holds(attempt, event.token, AttemptState.UNCONFIRMED):
        return Step(note="late_look")
    if finding.kind is FindingKind.ABSENT and _absence_counts(attempt, finding, rules):
        attempt = replace(attempt, absences=attempt.absences + 1)
        if attempt.absences >= PROOFS_NEEDED:
            return _proved_absent(attempt, target, now)
    elif finding.kind is FindingKind.BLIND:
        attempt = replace(attempt, absences=0)
    return Step(attempt=_doubt_later(attempt, rules, now))


def _absence_counts(attempt: Attempt, finding: Finding, rules: LookRules) -> bool:
    sent_at = attempt.sent_at if attempt.sent_at is not None else attempt.claimed_at
    return finding.as_of >= sent_at + rules.absence_counts_after


def _doubt_later(attempt: Attempt, rules: LookRules, now: float) -> Attempt:
    sent_at = attempt.sent_at if attempt.sent_at is not None else attempt.claimed_at
    give_up_at = attempt.give_up_at if attempt.give_up_at is not None else looking.doubt_gives_up_at(rules, now)
    when = looking.next_doubt_look(rules, sent_at, attempt.looks, give_up_at, now)
    # Every look is a change of hands: the same look written twice (a lost COMMIT, a slow settler) must not count twice.
    return replace(attempt, token=attempt.token + 1, looks=attempt.looks + 1, next_look_at=when, give_up_at=give_up_at)


def _found(attempt: Attempt, target: Target, finding: Finding, plan: Plan, rules: LookRules, now: float) -> Step:
    report = finding.report
    if report is not None and report.status is ReportStatus.FINAL and report.disposition is not None:
        step = _final_report(replace(attempt, call_id=finding.call_id or report.call_id), target, report, plan, now)
    else:
        step = _placed(attempt, target, finding.call_id, rules, now)
    return replace(step, note="doubt_found")


def _proved_absent(attempt: Attempt, target: Target, now: float) -> Step:
    closed = replace(
        attempt,
        state=AttemptState.NOT_PLACED,
        token=attempt.token + 1,
        next_look_at=None,
        ended_at=now,
        reason="proved not placed",
    )
    return Step(closed, freed(target, now, "the last request never became a call"), note="doubt_absent")


def proves_an_earlier_call(attempt: Attempt, event: Event) -> bool:
    """Does this answer prove that an earlier, never settled attempt on its number was placed?

    A conflict does, from the hand that holds the attempt. A stale one (said twice, or after the attempt was given up)
    proves nothing new: since then its number may have gone live again, and one number has one live attempt.
    """
    if not isinstance(event, Answered) or event.verdict.kind is not VerdictKind.CONFLICT:
        return False
    return _holds(attempt, event.token, AttemptState.SENDING)


def _proved_by_conflict(attempt: Attempt, target: Target, rules: LookRules, now: float) -> Step:
    """The lost answer was `placed`: adopt it. Its number is in flight at the provider until a result says otherwise."""
    unknown = attempt.state is AttemptState.ENDED and attempt.disposition is Disposition.UNKNOWN
    if attempt.state is not AttemptState.UNCONFIRMED and not unknown:
        return NOTHING
    if unknown and not (target.disposition is Disposition.UNKNOWN and _is_latest(attempt, target)):
        return NOTHING  # a later call to the number was taken since, so it is not this one that is queued
    reopened = replace(attempt, disposition=None, ended_at=None)
    target = _without_unknown(target) if unknown else target
    step = _placed(reopened, target, attempt.call_id, rules, now)
    assert step.target is not None
    calling = replace(step.target, state=TargetState.CALLING, attempt_id=attempt.id, due_at=None, reason=None)
    return replace(step, target=replace(calling, disposition=None, ended_at=None), note="doubt_found")


def _time_ran_out(attempt: Attempt, target: Target, plan: Plan, now: float) -> Step:
    if attempt.state not in (AttemptState.PLACED, AttemptState.UNCONFIRMED):
        return NOTHING
    if attempt.give_up_at is None or attempt.give_up_at > now:
        return NOTHING
    reason = "no result came" if attempt.state is AttemptState.PLACED else "nothing could show whether it was placed"
    told = replace(attempt, reason=reason)
    return replace(end(told, target, Disposition.UNKNOWN, AttemptState.ENDED, plan, now, now), note="gave_up")
