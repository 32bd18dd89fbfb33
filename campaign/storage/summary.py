"""How a campaign stands, in a handful of aggregate statements whatever its size."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, Integer, RowMapping, case, func, select

from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState, UploadState
from campaign.domain.verdicts import VerdictKind
from campaign.storage.schema import attempts, targets, uploads


def upload_counts(connection: Connection, campaign_id: int) -> RowMapping:
    """read, accepted, duplicates, rejected: rows of all uploads, as far as they have been read."""
    columns = {"read": uploads.c.rows_read} | {name: uploads.c[name] for name in ("accepted", "duplicates", "rejected")}
    sums = [func.coalesce(func.sum(column), 0).cast(Integer).label(name) for name, column in columns.items()]
    return connection.execute(select(*sums).where(uploads.c.campaign_id == campaign_id)).mappings().one()


def uploads_by_state(connection: Connection, campaign_id: int) -> dict[str, int]:
    query = select(uploads.c.state, func.count()).where(uploads.c.campaign_id == campaign_id)
    return {state: count for state, count in connection.execute(query.group_by(uploads.c.state))}


def target_counts(connection: Connection, campaign_id: int) -> list[tuple[str, str | None, int]]:
    """(state, disposition, how many)."""
    query = (
        select(targets.c.state, targets.c.disposition, func.count())
        .where(targets.c.campaign_id == campaign_id)
        .group_by(targets.c.state, targets.c.disposition)
    )
    return [(state, disposition, count) for state, disposition, count in connection.execute(query)]


def states_of_all(connection: Connection, campaign_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """How many targets in each state, by campaign."""
    query = (
        select(targets.c.campaign_id, targets.c.state, func.count())
        .where(targets.c.campaign_id.in_(list(campaign_ids)))
        .group_by(targets.c.campaign_id, targets.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for campaign_id, state, count in connection.execute(query):
        found.setdefault(campaign_id, {})[state] = count
    return found


def attempt_counts(connection: Connection, campaign_id: int) -> RowMapping:
    """total (real attempts), live, unconfirmed, conflicts, throttled."""
    live = attempts.c.state.in_(sorted(LIVE_ATTEMPT_STATES))
    kinds = {
        "total": attempts.c.counted,
        "live": live,
        "unconfirmed": attempts.c.state == AttemptState.UNCONFIRMED,
        "conflicts": attempts.c.verdict == VerdictKind.CONFLICT,
        "throttled": attempts.c.verdict == VerdictKind.THROTTLED,
    }
    sums = [
        func.coalesce(func.sum(case((condition, 1), else_=0)), 0).cast(Integer).label(name)
        for name, condition in kinds.items()
    ]
    return connection.execute(select(*sums).where(attempts.c.campaign_id == campaign_id)).mappings().one()


def due_now(connection: Connection, campaign_id: int, now: float) -> int:
    query = select(func.count()).where(_waiting(campaign_id), targets.c.due_at <= now)
    return connection.execute(query).scalar_one()


def waiting_reasons(connection: Connection, campaign_id: int, now: float) -> list[tuple[str | None, int, float]]:
    """(reason, how many, the earliest due time) of targets that are due later, the most frequent first."""
    query = (
        select(targets.c.reason, func.count(), func.min(targets.c.due_at))
        .where(_waiting(campaign_id), targets.c.due_at > now)
        .group_by(targets.c.reason)
        .order_by(func.count().desc(), targets.c.reason)
    )
    return [(reason, count, due_at) for reason, count, due_at in connection.execute(query)]


def failed_uploads(connection: Connection, campaign_id: int) -> list[tuple[str, str | None]]:
    """(file name, why it could not be read)."""
    query = select(uploads.c.file_name, uploads.c.why).where(
        uploads.c.campaign_id == campaign_id, uploads.c.state == UploadState.FAILED
    )
    return [(name, why) for name, why in connection.execute(query.order_by(uploads.c.id))]


def _waiting(campaign_id: int) -> ColumnElement[bool]:
    return (targets.c.campaign_id == campaign_id) & (targets.c.state == TargetState.WAITING)
