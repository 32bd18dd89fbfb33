"""What a person must decide, and the statements that carry the decision out. Locks go campaign, attempts, targets."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Update, func, select, update

from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, TargetState
from campaign.storage.bulk import in_order
from campaign.storage.schema import attempts, targets

Phones = Sequence[str] | None

WITHOUT_UNKNOWN = func.nullif(targets.c.disposition, Disposition.UNKNOWN.value)
"""The target's disposition as it was, but `unknown` taken back."""


def held(connection: Connection, campaign_id: int, limit: int) -> list[dict[str, Any]]:
    """Held targets with the latest real attempt of each, in the order of the upload."""
    query = (
        select(targets.c.id, targets.c.phone, targets.c.reason, targets.c.attempts)
        .where(targets.c.campaign_id == campaign_id, targets.c.state == TargetState.HELD)
        .order_by(targets.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).mappings().all()
    mine = attempts.c.target_id.in_([row["id"] for row in rows])
    seen = select(attempts.c.target_id, *_SEEN).where(mine, attempts.c.counted).order_by(attempts.c.id)
    latest = {row["target_id"]: dict(row) for row in connection.execute(seen).mappings()}
    nothing = dict.fromkeys(column.name for column in _SEEN)
    return [{**nothing, **latest.get(row["id"], {}), **row} for row in rows]


def unconfirmed(connection: Connection, campaign_id: int, limit: int) -> Sequence[RowMapping]:
    """Unconfirmed attempts, the oldest first."""
    query = (
        select(attempts.c.phone, attempts.c.reason, targets.c.attempts, *_SEEN)
        .join(targets, targets.c.id == attempts.c.target_id)
        .where(attempts.c.campaign_id == campaign_id, attempts.c.state == AttemptState.UNCONFIRMED)
    )
    return connection.execute(query.order_by(attempts.c.id).limit(limit)).mappings().all()


def decide_unknown(connection: Connection, campaign_id: int, phones: Phones, values: dict[str, Any]) -> None:
    """Set ``values`` on the attempt that each held target is held for, where it ended unknown."""
    of_held = (
        _latest()
        .join(targets, targets.c.id == attempts.c.target_id)
        .where(*_held(campaign_id, phones))
        .group_by(attempts.c.target_id)
    )
    unknown = in_order(
        attempts,
        attempts.c.id.in_(of_held),
        attempts.c.state == AttemptState.ENDED,
        attempts.c.disposition == Disposition.UNKNOWN,
    )
    connection.execute(update(attempts).where(unknown).values(token=attempts.c.token + 1, **values))


def release_held(connection: Connection, campaign_id: int, phones: Phones, values: dict[str, Any]) -> int:
    """Set ``values`` on held targets and count their real attempts anew; how many."""
    return _recounted(connection, update(targets).where(in_order(targets, *_held(campaign_id, phones))), values)


def decide_unconfirmed(connection: Connection, campaign_id: int, phones: Phones, values: dict[str, Any]) -> list[int]:
    """Set ``values`` on unconfirmed attempts, out of the hands of whoever looks for them; their ids."""
    mine, state = attempts.c.campaign_id == campaign_id, attempts.c.state == AttemptState.UNCONFIRMED
    closed = update(attempts).where(in_order(attempts, mine, state, *_among(attempts, phones)))
    closed = closed.values(token=attempts.c.token + 1, next_look_at=None, lease_until=None, **values)
    return list(connection.execute(closed.returning(attempts.c.id)).scalars())


def release_calling(connection: Connection, attempt_ids: Sequence[int], values: dict[str, Any]) -> None:
    """Set ``values`` on the targets that these attempts were live for."""
    calling = in_order(targets, targets.c.state == TargetState.CALLING, targets.c.attempt_id.in_(attempt_ids))
    chosen = update(targets).where(calling)
    _recounted(connection, chosen, values)


def _recounted(connection: Connection, chosen: Update, values: dict[str, Any]) -> int:
    mine = (attempts.c.target_id == targets.c.id) & attempts.c.counted
    counts = {
        "attempts": select(func.count()).select_from(attempts).where(mine).scalar_subquery(),
        "first_attempt_at": select(func.min(attempts.c.sent_at)).where(mine).scalar_subquery(),
        "last_attempt_at": select(func.max(attempts.c.sent_at)).where(mine).scalar_subquery(),
    }
    return connection.execute(chosen.values(attempt_id=None, conflicts=0, rescues=0, **counts, **values)).rowcount


def _latest() -> Any:
    return select(func.max(attempts.c.id)).where(attempts.c.counted)


def _held(campaign_id: int, phones: Phones) -> list[ColumnElement[bool]]:
    mine = [targets.c.campaign_id == campaign_id, targets.c.state == TargetState.HELD]
    return [*mine, *_among(targets, phones)]


def _among(table: Any, phones: Phones) -> list[ColumnElement[bool]]:
    return [] if phones is None else [table.c.phone.in_(list(phones))]


_SEEN = [
    attempts.c.line,
    attempts.c.sent_at,
    attempts.c.call_id,
    attempts.c.next_look_at,
    attempts.c.give_up_at,
]
