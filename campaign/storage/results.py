"""Results page by page. A page is a short transaction of its own, walked by primary key: a long report must neither
hold back the cleaning of dead rows (MEASURED 6) nor sort a campaign for every page."""

from collections.abc import Sequence

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


def result_page(connection: Connection, campaign_id: int, after: int, last: int, limit: int) -> Sequence[RowMapping]:
    """Targets with the latest real attempt of each, in the order of the upload."""
    deciding = attempts.alias("deciding")
    latest = (
        select(func.max(attempts.c.id))
        .where(attempts.c.target_id == targets.c.id, attempts.c.counted)
        .correlate(targets)
        .scalar_subquery()
    )
    query = (
        select(
            *_OF_TARGET,
            func.coalesce(targets.c.reason, deciding.c.reason).label("reason"),
            deciding.c.answered_at,
            deciding.c.talk_seconds,
            deciding.c.line,
            deciding.c.call_id.label("provider_call_id"),
        )
        .select_from(targets.outerjoin(deciding, deciding.c.id == latest))
        .where(of_campaign(campaign_id), targets.c.id > after, targets.c.id <= last)
        .order_by(targets.c.id)
        .limit(limit)
    )
    return connection.execute(query).mappings().all()


def attempt_page(connection: Connection, campaign_id: int, after: int, last: int, limit: int) -> Sequence[RowMapping]:
    """Attempts whose request left or may have left, in the order of their claims, with their target's variables."""
    query = (
        select(attempts, attempts.c.call_id.label("provider_call_id"), targets.c.variables)
        .join(targets, targets.c.id == attempts.c.target_id)
        .where(attempts.c.campaign_id + 0 == campaign_id, attempts.c.id > after, attempts.c.id <= last)
        .where(attempts.c.state.not_in(_NEVER_LEFT))
        .order_by(attempts.c.id)
        .limit(limit)
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
        query = query.where(attempts.c.campaign_id == campaign_id)
    return connection.execute(query).mappings().all()


_OF_TARGET = [
    targets.c.id,
    targets.c.phone,
    targets.c.variables,
    targets.c.state,
    targets.c.disposition,
    targets.c.attempts,
    targets.c.first_attempt_at,
    targets.c.last_attempt_at,
]
