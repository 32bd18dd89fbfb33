"""How a doubt is settled: a look finds the call, looks prove that it never was, a conflict proves that it is there."""

from dataclasses import replace

from campaign.domain.calls import Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import VerdictKind
from campaign.policies.awaiting import looked_for_again, placed
from campaign.policies.endings import closed, freed
from campaign.policies.events import NOTHING, Answered, Event, Looked, Step, holds
from campaign.policies.looking import LookRules
from campaign.policies.reports import final_report, held_by, without_unknown

PROOFS_NEEDED = 2
"""Looks in a row that must each prove absence before a number is dialled again."""


def looked(attempt: Attempt, target: Target, event: Looked, plan: Plan, rules: LookRules, now: float) -> Step:
    finding = event.finding
    if finding.kind is FindingKind.FOUND and attempt.state is AttemptState.UNCONFIRMED:
        return _found(attempt, target, finding, plan, rules, now)  # however long ago: it was seen
    if not holds(attempt, event.token, AttemptState.UNCONFIRMED):
        return Step(note="late_look")
    if finding.kind is FindingKind.ABSENT and _absence_counts(attempt, finding, rules):
        attempt = attempt._replace(absences=attempt.absences + 1)
        if attempt.absences >= PROOFS_NEEDED:
            return _proved_absent(attempt, target, now)
    elif finding.kind is FindingKind.BLIND:
        attempt = attempt._replace(absences=0)
    return Step(attempt=looked_for_again(attempt, rules, now))


def _absence_counts(attempt: Attempt, finding: Finding, rules: LookRules) -> bool:
    return finding.as_of >= attempt.out_since + rules.absence_counts_after


def _found(attempt: Attempt, target: Target, finding: Finding, plan: Plan, rules: LookRules, now: float) -> Step:
    report = finding.report
    if report is not None and report.status is ReportStatus.FINAL and report.disposition is not None:
        known = attempt._replace(call_id=finding.call_id or report.call_id)
        step = final_report(known, target, report, report.disposition, plan, now)
    else:
        step = placed(attempt, target, finding.call_id, rules, now)
    return replace(step, note="doubt_found")


def _proved_absent(attempt: Attempt, target: Target, now: float) -> Step:
    gone = closed(attempt, AttemptState.NOT_PLACED, now, reason="proved not placed")
    return Step(gone, freed(target, now, "the last request never became a call"), note="doubt_absent")


def proves_an_earlier_call(attempt: Attempt, event: Event) -> bool:
    """Does this answer prove that an earlier, never settled attempt on its number was placed?

    A conflict does, from the hand that holds the attempt. A stale one (said twice, or after the attempt was given up)
    proves nothing new: since then its number may have gone live again, and one number has one live attempt.
    """
    if not isinstance(event, Answered) or event.verdict.kind is not VerdictKind.CONFLICT:
        return False
    return holds(attempt, event.token, AttemptState.SENDING)


def proved_by_conflict(attempt: Attempt, target: Target, rules: LookRules, now: float) -> Step:
    """The lost answer was `placed`: adopt it. Its number is in flight at the provider until a result says otherwise."""
    unknown = attempt.state is AttemptState.ENDED and attempt.disposition is Disposition.UNKNOWN
    if attempt.state is not AttemptState.UNCONFIRMED and not unknown:
        return NOTHING
    if unknown and not held_by(attempt, target):
        return NOTHING  # a later call to the number was taken since, so it is not this one that is queued
    target = without_unknown(target) if unknown else target
    calling = target._replace(state=TargetState.CALLING, attempt_id=attempt.id, due_at=None, reason=None)
    reopened = attempt._replace(disposition=None, ended_at=None)
    step = placed(reopened, calling._replace(disposition=None, ended_at=None), attempt.call_id, rules, now)
    return replace(step, note="doubt_found")
