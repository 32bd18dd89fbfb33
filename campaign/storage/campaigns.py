"""Rows of ``campaigns``. Whoever makes a target wait again locks its campaign first, so that none completes unseen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from campaign.domain.states import CampaignState, TargetState, UploadState
from campaign.storage.schema import campaigns, targets, uploads

_UNREAD = (UploadState.RECEIVING, UploadState.RECEIVED, UploadState.READING)
_OPEN = (TargetState.WAITING, TargetState.CALLING)


def add(connection: Connection, values: Mapping[str, Any]) -> int | None:
    """The new row's id; None where the name is taken."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(campaigns).values(values).on_conflict_do_nothing().returning(campaigns.c.id)
    return connection.execute(statement).scalar()


def find(connection: Connection, name: str, *, lock: bool = False) -> RowMapping | None:
    """``lock`` holds the row until the transaction ends (on SQLite the whole database is already ours)."""
    query = select(campaigns).where(campaigns.c.name == name)
    return connection.execute(query.with_for_update() if lock else query).mappings().first()


def lock(connection: Connection, campaign_id: int) -> RowMapping | None:
    query = select(campaigns).where(campaigns.c.id == campaign_id).with_for_update()
    return connection.execute(query).mappings().first()


def every(connection: Connection) -> Sequence[RowMapping]:
    """All of them, the newest first."""
    return connection.execute(select(campaigns).order_by(campaigns.c.id.desc())).mappings().all()


def names(connection: Connection) -> list[str]:
    return list(connection.execute(select(campaigns.c.name).order_by(campaigns.c.name)).scalars())


def move(
    connection: Connection,
    campaign_id: int,
    from_states: Collection[CampaignState],
    to: CampaignState,
    **values: object,
) -> bool:
    """True where the campaign was in one of ``from_states``. ``values`` are further columns to set."""
    statement = (
        update(campaigns)
        .where(campaigns.c.id == campaign_id, campaigns.c.state.in_(sorted(from_states)))
        .values(state=to, **values)
    )
    return connection.execute(statement).rowcount == 1


def wake(connection: Connection, campaign_id: int) -> bool:
    """A completed campaign runs again: it has work. Call with its row locked and after making that work."""
    return move(connection, campaign_id, [CampaignState.COMPLETED], CampaignState.RUNNING, why=None, ended_at=None)


def change(connection: Connection, campaign_id: int, values: Mapping[str, Any]) -> None:
    """Plan or line, with the row locked."""
    connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(values))


def finished(connection: Connection, only: Collection[int] | None = None) -> list[int]:
    """Running campaigns that have been given numbers and have nothing left to dial, read or await.

    With ``only`` the rows are locked first and the question is asked of a fresh snapshot.
    """
    query = select(campaigns.c.id).where(campaigns.c.state == CampaignState.RUNNING)
    if only is not None:
        locked = select(campaigns.c.id).where(campaigns.c.id.in_(sorted(only))).order_by(campaigns.c.id)
        connection.execute(locked.with_for_update()).all()
        query = query.where(campaigns.c.id.in_(sorted(only)))
    begun = _has_upload() | exists().where(targets.c.campaign_id == campaigns.c.id)
    return list(connection.execute(query.where(begun, ~_has_work())).scalars())


def completed_with_work(connection: Connection) -> list[int]:
    """Completed campaigns that have something to dial or to read after all; empty unless somebody forgot to wake."""
    query = select(campaigns.c.id).where(campaigns.c.state == CampaignState.COMPLETED, _has_work())
    return list(connection.execute(query).scalars())


def held_in(connection: Connection, campaign_id: int) -> int:
    query = select(func.count()).where(targets.c.campaign_id == campaign_id, targets.c.state == TargetState.HELD)
    return connection.execute(query).scalar_one()


def _has_upload(*states: UploadState) -> Any:
    mine = exists().where(uploads.c.campaign_id == campaigns.c.id)
    return mine.where(uploads.c.state.in_(states)) if states else mine


def _has_work() -> Any:
    some = exists().where(targets.c.campaign_id == campaigns.c.id, targets.c.state.in_(_OPEN))
    return some | _has_upload(*_UNREAD)
