"""What a provider says about a call: under way, ended, or ended in truth though we had closed the attempt otherwise."""

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.awaiting import asked_again, placed
from campaign.policies.endings import after, count, end, overtaken
from campaign.policies.events import NOTHING, Reported, Step
from campaign.policies.looking import LookRules
from campaign.policies.withdrawn import never_rang, withdrawn

_ASKED = frozenset({AttemptState.PLACED, AttemptState.UNCONFIRMED, AttemptState.SENDING})
_THOUGHT_UNPLACED = frozenset({AttemptState.NOT_PLACED, AttemptState.RELEASED, AttemptState.REFUSED})


def reported(attempt: Attempt, target: Target, event: Reported, plan: Plan, rules: LookRules, now: float) -> Step:
    report = event.report
    if report.status is ReportStatus.FINAL and report.disposition is not None:
        return final_report(attempt, target, report, report.disposition, plan, now)
    if report.status is ReportStatus.PENDING and attempt.state in (AttemptState.UNCONFIRMED, AttemptState.SENDING):
        return placed(attempt, target, report.call_id, rules, now, raw=report.raw or attempt.raw)
    if attempt.state is AttemptState.PLACED:
        told = attempt._replace(call_id=attempt.call_id or report.call_id, raw=report.raw or attempt.raw)
        return Step(asked_again(told, report, rules, now) if event.asked else told)
    return NOTHING


def final_report(
    attempt: Attempt, target: Target, report: CallReport, disposition: Disposition, plan: Plan, now: float
) -> Step:
    """``disposition`` is the report's."""
    if disposition is Disposition.UNKNOWN and attempt.state not in _ASKED:
        return Step(note="late_result")
    told = attempt._replace(
        call_id=attempt.call_id or report.call_id,
        raw=report.raw or attempt.raw,
        reason=report.reason or attempt.reason,
        answered_at=report.answered_at,
        talk_seconds=report.talk_seconds,
    )
    ended_at = _ended_at(attempt, report, now)
    if attempt.state in _ASKED and never_rang(report):
        return withdrawn(told, target, plan, ended_at, now)
    if attempt.state in _ASKED:
        return end(told, target, disposition, AttemptState.ENDED, plan, ended_at, now)
    if attempt.disposition is Disposition.UNKNOWN:
        return _truth_after_unknown(told, target, disposition, plan, ended_at, now)
    if attempt.disposition is None and attempt.state in _THOUGHT_UNPLACED:
        return _truth_after_absence(told, target, disposition, plan, ended_at, now)
    return Step(note="late_result")


def _ended_at(attempt: Attempt, report: CallReport, now: float) -> float:
    """Within the attempt's life: a provider's clock that is hours behind must not make the next try due at once."""
    if report.ended_at is None:
        return now
    return min(max(report.ended_at, attempt.out_since), now)


def _truth_after_unknown(
    attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, ended_at: float, now: float
) -> Step:
    """A true disposition may replace `unknown`; the target follows unless it has moved on to another attempt."""
    told = attempt._replace(disposition=disposition, ended_at=attempt.ended_at or now)
    if held_by(attempt, target):
        settled = after(without_unknown(target), disposition, plan, ended_at, now)
        return Step(told, settled, note="unknown_resolved")
    return Step(told, overtaken(target, disposition, now), note="unknown_resolved")


def _truth_after_absence(
    attempt: Attempt, target: Target, disposition: Disposition, plan: Plan, ended_at: float, now: float
) -> Step:
    """The provider placed it after all, later than every grace (guarantees.md, residual risk a)."""
    told = attempt._replace(state=AttemptState.ENDED, counted=True, disposition=disposition, ended_at=now)
    counted = count(target, attempt, now)
    if target.state is TargetState.WAITING and _is_latest(attempt, target):
        return Step(told, after(counted, disposition, plan, ended_at, now), note="late_placement")
    return Step(told, overtaken(counted, disposition, now), note="late_placement")


def held_by(attempt: Attempt, target: Target) -> bool:
    """It is this attempt's unknown end by which the target stands where it stands."""
    return target.disposition is Disposition.UNKNOWN and _is_latest(attempt, target)


def without_unknown(target: Target) -> Target:
    left = max(target.tally.get(Disposition.UNKNOWN, 1) - 1, 0)
    return target._replace(tally={**target.tally, Disposition.UNKNOWN: left})


def _is_latest(attempt: Attempt, target: Target) -> bool:
    """No later attempt of the target is live or has counted, so what this one turned out to be decides."""
    if target.state is TargetState.CALLING:
        return target.attempt_id == attempt.id
    return target.last_attempt_at is None or attempt.out_since >= target.last_attempt_at
