"""Signs of life: workers seen lately, and whether somebody listens on a port."""

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from campaign.domain.clock import CLOCKS_APART

if TYPE_CHECKING:
    from campaign.storage.engine import Store

SILENT_AFTER = 15.0
"""Seconds without a heartbeat after which nobody works: an idle worker gives one every two."""

WEEK = 7 * 86_400.0
ORPHANED_FOR = 3600.0
"""Seconds for which a result may look for its call before a person should know of it."""


def workers_seen(store: "Store") -> float | None:
    """Seconds since a worker last did something; None where that is longer ago than SILENT_AFTER."""
    from campaign.storage import process_rows

    with store.read() as connection:
        seen, now = process_rows.last_seen(connection), store.now(connection)
    if seen is None or now - seen > SILENT_AFTER:
        return None
    return max(now - seen, 0.0)


def wrong_clocks(store: "Store") -> list[tuple[str, float]]:
    """Machines whose workers refuse to dial because their clock is wrong, and by how many seconds it is ahead."""
    from campaign.storage import process_rows

    with store.read() as connection:
        return process_rows.wrong_clocks(connection, store.now(connection) - SILENT_AFTER, CLOCKS_APART)


def orphans_of_a_week(store: "Store") -> dict[str, int]:
    """By line, how many deliveries of the last week have matched no call of ours for an hour."""
    from campaign.storage import events

    with store.read() as connection:
        now = store.now(connection)
        return events.by_line(connection, "orphan_result", now - WEEK, now - ORPHANED_FOR)


def somebody_listens(url: str, seconds: float = 0.5) -> bool:
    """Whether a connection to the URL's host and port is accepted."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
