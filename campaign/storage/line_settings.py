"""Rows of ``lines`` as an operator sees and sets them. The health in them belongs to :mod:`line_rows`."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, update

from campaign.domain.states import CampaignState
from campaign.storage.schema import attempts, campaigns, is_live, lines


def by_name(connection: Connection) -> dict[str, RowMapping]:
    return {row["name"]: row for row in connection.execute(select(lines)).mappings()}


def live(connection: Connection) -> dict[str, int]:
    """Calls in flight by line."""
    query = select(attempts.c.line, func.count()).where(is_live)
    return {line: count for line, count in connection.execute(query.group_by(attempts.c.line))}


def running(connection: Connection) -> dict[str, int]:
    """Running campaigns by line."""
    query = select(campaigns.c.line, func.count()).where(campaigns.c.state == CampaignState.RUNNING)
    return {line: count for line, count in connection.execute(query.group_by(campaigns.c.line))}


def change(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(lines).where(lines.c.name == name).values(values))
