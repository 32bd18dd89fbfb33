"""Every question that must be answered `yes` before a number rings, asked at the claim and again at the last moment."""

from dataclasses import dataclass

from campaign.domain.erasure import ERASED
from campaign.domain.plan import Plan
from campaign.policies import hours
from campaign.policies.zones import zones_of

RECHECK_UNKNOWN = 3600.0
"""Seconds until a target is looked at again whose time zone or window cannot be told."""

LIVE_ELSEWHERE = 15.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says about one number at this moment. ``recent`` are the sends of the last 24 hours."""

    listed: bool = False
    live_elsewhere: bool = False
    recent: tuple[float, ...] = ()
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """The number may ring."""


@dataclass(frozen=True, slots=True)
class Wait:
    due_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    reason: str


Gate = Pass | Wait | Skip
PASS = Pass()


def gate(phone: str, plan: Plan, facts: Facts, now: float, margin: float = hours.AT_ONCE) -> Gate:
    """The strictest answer. Anything unreadable is a `no` with its reason.

    ``margin`` is how many seconds the line may hold a call before it rings (infinite: nobody knows).
    """
    if facts.erased:
        return Skip(ERASED)
    if facts.listed:
        return Skip("do not call")
    closed = _hours(phone, plan, now, margin)
    if closed is not None:
        return closed
    if facts.live_elsewhere:
        return Wait(now + LIVE_ELSEWHERE, "another call to this number is live")
    return _cap(plan, facts, now)


def _hours(phone: str, plan: Plan, now: float, margin: float) -> Wait | None:
    if plan.hours is None:
        return None
    zones = zones_of(phone) if plan.hours.zone == "target" else ()
    answer = hours.window(plan.hours, zones, now, margin)
    if isinstance(answer, hours.Open):
        return None
    due_at = answer.opens_at if answer.opens_at is not None else now + RECHECK_UNKNOWN
    return Wait(due_at, answer.reason)


def _cap(plan: Plan, facts: Facts, now: float) -> Gate:
    limit = plan.caps.per_day
    if limit is None:
        return PASS
    recent = sorted(at for at in facts.recent if at > now - DAY)
    if len(recent) < limit:
        return PASS
    return Wait(recent[-limit] + DAY, f"already called {len(recent)} times in 24 hours")
