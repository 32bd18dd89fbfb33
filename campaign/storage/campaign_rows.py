"""What the engine needs of ``campaigns``: their plans, and pausing one that a provider's answer stopped."""

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select, update

from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.storage.newer_words import plan_for_dialling, plan_for_recording
from campaign.storage.schema import attempts, campaigns, events


def plans(connection: Connection, campaign_ids: Iterable[int]) -> dict[int, Plan]:
    """By campaign id, as far as this version can read them."""
    query = select(campaigns.c.id, campaigns.c.plan).where(campaigns.c.id.in_(sorted(campaign_ids)))
    return {row.id: plan_for_recording(row.plan) for row in connection.execute(query)}


def plans_of_attempts(connection: Connection, attempt_ids: Iterable[int]) -> dict[int, Plan]:
    """By attempt id; those whose plan this version cannot keep to are left to a newer one."""
    query = (
        select(attempts.c.id, campaigns.c.id, campaigns.c.plan)
        .join_from(attempts, campaigns, campaigns.c.id == attempts.c.campaign_id)
        .where(attempts.c.id.in_(sorted(attempt_ids)))
    )
    read = [(attempt_id, plan_for_dialling(of, plan)) for attempt_id, of, plan in connection.execute(query)]
    return {attempt_id: plan for attempt_id, plan in read if plan is not None}


def lock_of_attempts(connection: Connection, attempt_ids: Iterable[int]) -> None:
    """The campaigns of these attempts, until the transaction ends. Call before the attempts are locked."""
    mine = select(attempts.c.campaign_id).where(attempts.c.id.in_(sorted(attempt_ids)))
    locked = (
        select(campaigns.c.id).where(campaigns.c.id.in_(mine)).order_by(campaigns.c.id).with_for_update(of=campaigns)
    )
    connection.execute(locked).all()


def pause_running(connection: Connection, campaign_id: int, why: str, now: float) -> bool:
    """True where it was running; a campaign that a person has paused meanwhile keeps that reason."""
    statement = (
        update(campaigns)
        .where(campaigns.c.id == campaign_id, campaigns.c.state == CampaignState.RUNNING)
        .values(state=CampaignState.PAUSED, why=why)
    )
    paused = connection.execute(statement).rowcount > 0
    if paused:
        row = {"at": now, "kind": "paused_by_provider", "campaign_id": campaign_id, "detail": {"why": why}}
        connection.execute(insert(events), [row])
    return paused
