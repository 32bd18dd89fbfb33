"""An attempt that is out: the moves by which it comes to be looked after, until somebody can say how it went."""

from typing import Any

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState
from campaign.policies import looking
from campaign.policies.endings import count
from campaign.policies.events import Step
from campaign.policies.line_health import Signal
from campaign.policies.looking import LookRules


def placed(
    attempt: Attempt,
    target: Target,
    call_id: str | None,
    rules: LookRules,
    now: float,
    signal: Signal | None = None,
    **told: Any,
) -> Step:
    """The provider has the call: a real attempt, and its result is asked for from now on."""
    counted = count(target, attempt, now)
    look, give_up_at = looking.first_result_look(rules, now), now + rules.poll.give_up_after
    told |= {"placed_at": attempt.placed_at or now, "call_id": call_id or attempt.call_id, "counted": True}
    return Step(_looked_after(attempt, AttemptState.PLACED, look, give_up_at, **told), counted, signal)


def doubted(attempt: Attempt, target: Target, reason: str, rules: LookRules, now: float) -> Step:
    """The request may have left: the call is looked for before anything else may happen to its number."""
    give_up_at = looking.doubt_gives_up_at(rules, now)
    look = looking.first_doubt_look(rules, now, give_up_at)
    doubt = _looked_after(attempt, AttemptState.UNCONFIRMED, look, give_up_at, reason=reason)
    return Step(doubt, target._replace(reason="unconfirmed"), note="doubt")


def _looked_after(
    attempt: Attempt, state: AttemptState, next_look_at: float, give_up_at: float, **told: Any
) -> Attempt:
    return attempt._replace(
        state=state,
        token=attempt.token + 1,
        lease_until=None,
        looks=0,
        absences=0,
        next_look_at=next_look_at,
        give_up_at=give_up_at,
        **told,
    )


def asked_again(attempt: Attempt, report: CallReport, rules: LookRules, now: float) -> Attempt:
    """A placed call whose end nobody told this time. A question that got no answer does not make the pauses longer:
    calls would end meanwhile and nobody would ask for minutes. Nor does a call that waits in a queue: it may have to be
    taken back before its turn comes."""
    give_up_at = attempt.give_up_at if attempt.give_up_at is not None else now + rules.poll.give_up_after
    when = looking.next_result_look(rules, attempt.looks, give_up_at, now)
    looks = attempt.looks + (report.status is not ReportStatus.UNREACHABLE and report.rang is not False)
    return attempt._replace(looks=looks, next_look_at=when, give_up_at=give_up_at)


def looked_for_again(attempt: Attempt, rules: LookRules, now: float) -> Attempt:
    """A doubt that this look did not settle."""
    give_up_at = attempt.give_up_at if attempt.give_up_at is not None else looking.doubt_gives_up_at(rules, now)
    when = looking.next_doubt_look(rules, attempt.out_since, attempt.looks, give_up_at, now)
    # Every look is a change of hands: the same look written twice (a lost COMMIT, a slow settler) must not count twice.
    return attempt._replace(token=attempt.token + 1, looks=attempt.looks + 1, next_look_at=when, give_up_at=give_up_at)
