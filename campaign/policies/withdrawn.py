"""A call in its provider's queue: whether it may still ring, and what it was where it was canceled before it did."""

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState
from campaign.policies.endings import closed, free, held
from campaign.policies.events import Step
from campaign.policies.gates import PASS, Facts, gate

NEVER_RANG = "canceled in the provider's queue before it rang"


def must_not_ring(report: CallReport, phone: str, plan: Plan, now: float, margin: float, *, listed: bool) -> bool:
    """Does the provider hold the call in its queue, and may its number not ring ``margin`` seconds from now: hours that
    close, an opt-out? Caps were asked when the call left, and it is itself among what they count."""
    queued = report.status is ReportStatus.PENDING and report.rang is False
    return queued and gate(phone, plan, Facts(listed), now, margin) != PASS


def never_rang(report: CallReport) -> bool:
    """The provider shows both: that it was canceled, and that it had not rung. Nothing less gives an attempt back."""
    canceled = report.status is ReportStatus.FINAL and report.disposition is Disposition.CANCELED
    return canceled and report.rang is False


def withdrawn(attempt: Attempt, target: Target, plan: Plan, ended_at: float, now: float) -> Step:
    """It keeps the disposition that the provider told, and costs its target nothing. The target waits as after a
    conflict, so long and so often, whoever it was that canceled; hours that are closed then postpone it further."""
    told = {"counted": False, "disposition": Disposition.CANCELED, "reason": NEVER_RANG}
    over = closed(attempt, AttemptState.ENDED, ended_at, **told)
    target = _uncounted(target) if attempt.counted else target
    if target.attempt_id != attempt.id:
        return Step(over, target, note="late_result")
    return Step(over, _waiting(target._replace(conflicts=target.conflicts + 1), plan, now), note="withdrawn")


def _uncounted(target: Target) -> Target:
    if target.attempts > 1:
        return target._replace(attempts=target.attempts - 1)
    return target._replace(attempts=0, first_attempt_at=None, last_attempt_at=None)


def _waiting(target: Target, plan: Plan, now: float) -> Target:
    if target.conflicts < plan.max_conflicts:
        return free(target, now + plan.conflict_interval, NEVER_RANG, now)
    return held(target, f"canceled in the provider's queue {target.conflicts} times; decide with `campaign settle`")
