"""Is this machine's worker making progress? ``python -m workers.health`` exits 0 if so, 1 with one sentence if not.

Asked of the database, since a worker that lives but has stopped consuming still answers a ping.
"""

import os
import socket
import sys
from pathlib import Path

from campaign.domain.errors import CampaignError
from campaign.runtime import read_settings
from campaign.storage import process_rows
from campaign.storage.engine import open_store

SILENT_AFTER = 30.0


def main() -> int:
    try:
        store = open_store(read_settings(os.environ, Path.cwd()).database_url)
        with store.read() as connection:
            seen = process_rows.last_seen_on(connection, socket.gethostname())
            now = store.now(connection)
    except CampaignError as error:
        print(error, file=sys.stderr)
        return 1
    if seen is None or now - seen > SILENT_AFTER:
        print(f"no worker of this machine has done anything for {SILENT_AFTER:.0f} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
