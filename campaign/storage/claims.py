"""Claiming due work: the statements of the one transaction in which an attempt is born."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, select, update

from campaign.domain.plan import Plan
from campaign.domain.states import AttemptState, CampaignState, TargetState
from campaign.storage.bulk import document, given, one_of
from campaign.storage.newer_words import plan_for_dialling
from campaign.storage.schema import attempts, campaigns, do_not_call, is_live, targets
from campaign.storage.upsert import insert_new


@dataclass(frozen=True, slots=True)
class RunningCampaign:
    id: int
    name: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class DueTarget:
    id: int
    campaign_id: int
    phone: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    attempts: int = 0
    rescues: int = 0


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """A row of ``attempts`` to be, ``claimed`` with its lease."""

    target: DueTarget
    our_ref: str
    caller_id: str | None
    lease_until: float
    probe: bool


def running_campaigns(connection: Connection, line: str) -> list[RunningCampaign]:
    """Campaigns that may dial through the line. On PostgreSQL their rows are share-locked, so that a pause that has
    returned is seen by every claim and every send that commits after it."""
    query = (
        select(campaigns.c.id, campaigns.c.name, campaigns.c.plan)
        .where(campaigns.c.line == line, campaigns.c.state == CampaignState.RUNNING)
        .order_by(campaigns.c.id)
        .with_for_update(read=True)
    )
    read = [(row.id, row.name, plan_for_dialling(row.id, row.plan)) for row in connection.execute(query)]
    return [RunningCampaign(id_, name, plan) for id_, name, plan in read if plan is not None]


def count_live(connection: Connection, line: str) -> int:
    """Live attempts of the line."""
    return _count_live(connection, attempts.c.line == line)


def count_live_of(connection: Connection, campaign_id: int) -> int:
    """Live attempts of the campaign, on whatever line: it may have been moved to another while calls were out."""
    # Plus nothing, so that the few live attempts are looked through and not the campaign's million.
    return _count_live(connection, attempts.c.campaign_id + 0 == campaign_id)


def _count_live(connection: Connection, whose: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(attempts).where(whose, is_live)).scalar_one()


def lines_with_work(connection: Connection, now: float) -> dict[str, int]:
    """Lines of running campaigns with due targets; the count stops at 10,000 per campaign."""
    due = targets.c.due_at <= now
    found: dict[str, int] = {}
    running = select(campaigns.c.id, campaigns.c.line).where(campaigns.c.state == CampaignState.RUNNING)
    for campaign_id, line in connection.execute(running).all():
        some = select(targets.c.id).where(_waiting(campaign_id), due).limit(10_000).subquery()
        count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        if count:
            found[line] = found.get(line, 0) + count
    return found


def due_targets(connection: Connection, campaign_id: int, now: float, limit: int) -> list[DueTarget]:
    """The longest due first, locked; rows that another claim holds are passed over."""
    query = (
        select(*_DUE)
        .where(_waiting(campaign_id), targets.c.due_at <= now)
        .order_by(targets.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [DueTarget(*row) for row in connection.execute(query).all()]


_DUE = [targets.c[f.name] for f in fields(DueTarget)]


def in_hand(connection: Connection, attempt_id: int) -> bool:
    """Does a worker still hold the attempt, unanswered?"""
    held = attempts.c.state.in_((AttemptState.CLAIMED, AttemptState.SENDING))
    query = select(attempts.c.id).where(attempts.c.id == attempt_id, held)
    return connection.execute(query).scalar() is not None


def count_due(connection: Connection, campaign_id: int, now: float, limit: int) -> int:
    some = select(targets.c.id).where(_waiting(campaign_id), targets.c.due_at <= now).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _waiting(campaign_id: int) -> Any:
    """Those whose calls a restore may have lost are not to be claimed (services/reconciling.py)."""
    waiting = (targets.c.campaign_id == campaign_id) & (targets.c.state == TargetState.WAITING)
    return waiting & targets.c.unsure_since.is_(None)


def listed(connection: Connection, phones: Sequence[str]) -> set[str]:
    """Those on the do-not-call list."""
    query = select(do_not_call.c.phone).where(one_of(connection, do_not_call.c.phone, phones))
    return set(connection.execute(query).scalars())


def live_phones(connection: Connection, phones: Sequence[str]) -> set[str]:
    """Those with a live attempt, whatever campaign or line."""
    query = select(attempts.c.phone).where(one_of(connection, attempts.c.phone, phones), is_live)
    return set(connection.execute(query).scalars())


def recent_sends(connection: Connection, phones: Sequence[str], since: float) -> dict[str, tuple[float, ...]]:
    """Times of real or possible rings per number since then, over all campaigns."""
    query = select(attempts.c.phone, attempts.c.sent_at).where(
        one_of(connection, attempts.c.phone, phones),
        attempts.c.claimed_at >= since,
        attempts.c.sent_at.is_not(None),
        attempts.c.counted | (attempts.c.state == AttemptState.UNCONFIRMED),
    )
    found: dict[str, list[float]] = {}
    for phone, sent_at in connection.execute(query):
        found.setdefault(phone, []).append(sent_at)
    return {phone: tuple(times) for phone, times in found.items()}


def insert_attempts(connection: Connection, line: str, new: Sequence[NewAttempt], now: float) -> dict[int, int]:
    """Attempt id by target id. A number that went live elsewhere meanwhile is left out: the index refused it."""
    if not new:
        return {}
    rows = given(connection, _OF_A_NEW_ATTEMPT)
    # The condition is always met: SQLite could not tell ON CONFLICT from a join's ON without one.
    chosen = select(*rows.c, literal(AttemptState.CLAIMED), literal(now)).where(rows.c.target_id.is_not(None))
    names = [*(column.name for column in _OF_A_NEW_ATTEMPT), "state", "claimed_at"]
    statement = insert_new(connection, attempts).from_select(names, chosen)
    made = statement.returning(attempts.c.id, attempts.c.target_id)
    sent = document([_attempt_values(line, attempt) for attempt in new])
    return {target_id: attempt_id for attempt_id, target_id in connection.execute(made, sent).all()}


_OF_A_NEW_ATTEMPT = [
    attempts.c[name]
    for name in ("target_id", "campaign_id", "line", "phone", "our_ref", "caller_id", "probe", "lease_until")
]


def _attempt_values(line: str, attempt: NewAttempt) -> dict[str, object]:
    return {
        "target_id": attempt.target.id,
        "campaign_id": attempt.target.campaign_id,
        "line": line,
        "phone": attempt.target.phone,
        "our_ref": attempt.our_ref,
        "caller_id": attempt.caller_id,
        "probe": attempt.probe,
        "lease_until": attempt.lease_until,
    }


def set_calling(connection: Connection, attempt_by_target: Mapping[int, int]) -> None:
    """Targets that the caller has locked now have a live attempt."""
    if not attempt_by_target:
        return
    born = (targets.c.id == attempts.c.target_id) & one_of(connection, attempts.c.id, attempt_by_target.values())
    calling = {"state": TargetState.CALLING, "due_at": None, "reason": None, "attempt_id": attempts.c.id}
    connection.execute(update(targets).where(born).values(calling))


def postpone(connection: Connection, waits: Sequence[tuple[int, float, str]]) -> None:
    """(target id, due_at, reason) of waiting targets that the caller has locked."""
    if not waits:
        return
    statement = (
        update(targets)
        .where(targets.c.id == bindparam("of_target"), targets.c.state == TargetState.WAITING)
        .values(due_at=bindparam("later"), reason=bindparam("because"))
    )
    connection.execute(statement, [{"of_target": t, "later": at, "because": why} for t, at, why in waits])


def skip(connection: Connection, skips: Sequence[tuple[int, str]], now: float) -> None:
    """(target id, reason) of waiting targets that the caller has locked."""
    if not skips:
        return
    statement = (
        update(targets)
        .where(targets.c.id == bindparam("of_target"), targets.c.state == TargetState.WAITING)
        .values(state=TargetState.SKIPPED, due_at=None, reason=bindparam("because"), ended_at=now)
    )
    connection.execute(statement, [{"of_target": t, "because": why} for t, why in skips])


def set_sending(connection: Connection, attempt_ids: Sequence[int], now: float, lease_until: float) -> None:
    """Attempts that the caller has locked, checked and will send at once."""
    if attempt_ids:
        statement = update(attempts).where(one_of(connection, attempts.c.id, attempt_ids))
        connection.execute(statement.values(state=AttemptState.SENDING, sent_at=now, lease_until=lease_until))
