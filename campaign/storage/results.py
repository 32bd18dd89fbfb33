"""Results page by page. A page is a window of primary keys and a short transaction of its own: a long report must
neither hold back the cleaning of dead rows nor, whatever plan the database chooses, sort a campaign for every page
(seen on PostgreSQL before its first ANALYZE: 100,000 rows took minutes by ``LIMIT`` and take seconds by window)."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from campaign.domain.states import AttemptState
from campaign.storage.schema import attempts, campaigns, targets, uploads
from campaign.storage.targets import of_campaign

_NEVER_LEFT = (AttemptState.CLAIMED, AttemptState.RELEASED)


def upload_columns(connection: Connection, campaign_id: int) -> list[list[str]]:
    """The variables of each upload, in the order of its columns, without the phone; the oldest upload first."""
    query = select(uploads.c.columns).where(uploads.c.campaign_id == campaign_id).order_by(uploads.c.id)
    return [columns[1:] for columns in connection.execute(query).scalars() if columns]


def span(connection: Connection, campaign_id: int) -> tuple[int, int]:
    """The first and last target id; (1, 0) where there is none."""
    query = select(func.min(targets.c.id), func.max(targets.c.id)).where(targets.c.campaign_id == campaign_id)
    first, last = connection.execute(query).one()
    return (1, 0) if first is None else (first, last)


def attempts_span(connection: Connection, campaign_id: int) -> tuple[int, int]:
    query = select(func.min(attempts.c.id), func.max(attempts.c.id)).where(attempts.c.campaign_id == campaign_id)
    first, last = connection.execute(query).one()
    return (1, 0) if first is None else (first, last)


def result_page(connection: Connection, campaign_id: int, after: int, last: int) -> list[dict[str, Any]]:
    """Targets with ``after < id <= last`` and the latest real attempt of each, in the order of the upload."""
    query = select(*_OF_TARGET).where(of_campaign(campaign_id), targets.c.id > after, targets.c.id <= last)
    deciding = _latest_attempts(connection, after, last)
    return [
        _result(row, deciding.get(row["id"], {})) for row in connection.execute(query.order_by(targets.c.id)).mappings()
    ]


def _latest_attempts(connection: Connection, after: int, last: int) -> dict[int, Mapping[Any, Any]]:
    """By target id. Two range scans beat a join here: no statistics can lead the database astray."""
    query = (
        select(*_OF_ATTEMPT)
        .where(attempts.c.target_id > after, attempts.c.target_id <= last, attempts.c.counted)
        .order_by(attempts.c.id)
    )
    return {row["target_id"]: row for row in connection.execute(query).mappings()}


def _result(target: RowMapping, attempt: Mapping[Any, Any]) -> dict[str, Any]:
    told = {name: attempt.get(name) for name in ("answered_at", "talk_seconds", "line", "provider_call_id")}
    reason = target["reason"] if target["reason"] is not None else attempt.get("reason")
    return {**target, **told, "reason": reason}


def attempt_page(connection: Connection, campaign_id: int, after: int, last: int) -> Sequence[RowMapping]:
    """The same of attempts whose request left or may have left, with their target's variables."""
    query = (
        select(attempts, attempts.c.call_id.label("provider_call_id"), targets.c.variables)
        .join(targets, targets.c.id == attempts.c.target_id)
        .where(attempts.c.campaign_id + 0 == campaign_id, attempts.c.id > after, attempts.c.id <= last)
        .where(attempts.c.state.not_in(_NEVER_LEFT))
        .order_by(attempts.c.id)
    )
    return connection.execute(query).mappings().all()


def attempts_of_number(connection: Connection, phone: str, campaign_id: int | None) -> Sequence[RowMapping]:
    """Every attempt on a number with its campaign's name, the oldest first."""
    query = (
        select(attempts, campaigns.c.name.label("campaign"))
        .join(campaigns, campaigns.c.id == attempts.c.campaign_id)
        .where(attempts.c.phone == phone)
        .order_by(attempts.c.id)
    )
    if campaign_id is not None:
        query = query.where(attempts.c.campaign_id + 0 == campaign_id)  # the number's few, not the campaign's million
    return connection.execute(query).mappings().all()


_OF_ATTEMPT = [
    attempts.c.target_id,
    attempts.c.answered_at,
    attempts.c.talk_seconds,
    attempts.c.line,
    attempts.c.call_id.label("provider_call_id"),
    attempts.c.reason,
]
_OF_TARGET = [
    targets.c.id,
    targets.c.phone,
    targets.c.variables,
    targets.c.state,
    targets.c.disposition,
    targets.c.reason,
    targets.c.attempts,
    targets.c.first_attempt_at,
    targets.c.last_attempt_at,
]
