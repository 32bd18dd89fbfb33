"""Signs of life: workers seen lately, and whether somebody listens on a port."""

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from campaign.storage.engine import Store

SILENT_AFTER = 15.0
"""Seconds without a heartbeat after which nobody works: an idle worker gives one every two."""


def workers_seen(store: "Store") -> float | None:
    """Seconds since a worker last did something; None where that is longer ago than SILENT_AFTER."""
    from campaign.storage import process_rows

    with store.read() as connection:
        seen, now = process_rows.last_seen(connection), store.now(connection)
    if seen is None or now - seen > SILENT_AFTER:
        return None
    return max(now - seen, 0.0)


def somebody_listens(url: str, seconds: float = 0.5) -> bool:
    """Whether a connection to the URL's host and port is accepted."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False
