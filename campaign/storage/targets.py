"""Rows of ``targets`` in bulk, as an operator's words change them, and page by page, as people look at them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, or_, select, update

from campaign.domain.states import CampaignState, TargetState
from campaign.storage.bulk import in_order, one_of
from campaign.storage.schema import campaigns, targets

CANCELED = "campaign canceled"
DO_NOT_CALL = "do not call"

_WAITING = targets.c.state == TargetState.WAITING


def skip_waiting(connection: Connection, campaign_id: int, reason: str, now: float) -> int:
    """How many waited and will not be called."""
    chosen = update(targets).where(in_order(targets, _in_state(campaign_id, TargetState.WAITING)))
    return connection.execute(chosen.values(_skipped(reason, now))).rowcount


def skip_left_in_canceled(connection: Connection, now: float) -> int:
    """Targets of canceled campaigns that came to wait after the cancel: a call ran out, an upload became visible."""
    chosen = update(targets).where(in_order(targets, _left_in_canceled()))
    return connection.execute(chosen.values(_skipped(CANCELED, now))).rowcount


def any_left_in_canceled(connection: Connection) -> bool:
    return connection.execute(select(targets.c.id).where(_left_in_canceled()).limit(1)).scalar() is not None


def _left_in_canceled() -> Any:
    canceled = select(campaigns.c.id).where(campaigns.c.state == CampaignState.CANCELED)
    return targets.c.campaign_id.in_(canceled) & (targets.c.state == TargetState.WAITING)


def skip_numbers(connection: Connection, phones: Sequence[str], reason: str, now: float) -> int:
    """Waiting targets with these numbers, in every campaign."""
    chosen = update(targets).where(in_order(targets, one_of(connection, targets.c.phone, phones), _WAITING))
    return connection.execute(chosen.values(_skipped(reason, now))).rowcount


def ask_gates_again(connection: Connection, campaign_id: int, reasons: Sequence[str], now: float) -> int:
    """Targets put off because of a rule that has changed are due now; ``reasons`` are beginnings of the reason."""
    why = or_(*(targets.c.reason.startswith(reason, autoescape=True) for reason in reasons))
    put_off = in_order(targets, _in_state(campaign_id, TargetState.WAITING), targets.c.due_at > now, why)
    chosen = update(targets).where(put_off)
    return connection.execute(chosen.values(due_at=now)).rowcount


def page(
    connection: Connection, campaign_id: int, state: TargetState | None, after: int, limit: int
) -> Sequence[RowMapping]:
    """By id, which is the order of the upload."""
    mine = of_campaign(campaign_id) if state is None else _in_state(campaign_id, state)
    query = select(targets).where(mine, targets.c.id > after)
    return connection.execute(query.order_by(targets.c.id).limit(limit)).mappings().all()


def of_number(connection: Connection, phone: str, campaign_id: int) -> RowMapping | None:
    query = select(targets).where(targets.c.campaign_id == campaign_id, targets.c.phone == phone)
    return connection.execute(query).mappings().first()


def of_campaign(campaign_id: int) -> Any:
    """Membership that no index answers: pages walk the primary key, and must not sort a campaign for each page."""
    return targets.c.campaign_id + 0 == campaign_id


def _in_state(campaign_id: int, state: TargetState) -> Any:
    return (targets.c.campaign_id == campaign_id) & (targets.c.state == state)


def _skipped(reason: str, now: float) -> dict[str, Any]:
    return {"state": TargetState.SKIPPED, "due_at": None, "reason": reason, "ended_at": now}
