"""What the engine needs of ``campaigns``: their plans, and pausing one that a provider's answer stopped."""

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select, update

from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.storage.newer_words import plan_for_recording
from campaign.storage.schema import campaigns, events


def plans(connection: Connection, campaign_ids: Iterable[int]) -> dict[int, Plan]:
    """By campaign id, as far as this version can read them."""
    query = select(campaigns.c.id, campaigns.c.plan).where(campaigns.c.id.in_(sorted(campaign_ids)))
    return {row.id: plan_for_recording(row.plan) for row in connection.execute(query)}


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
