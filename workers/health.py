"""Is this machine's worker making progress? ``python -m workers.health`` exits 0 if so, 1 with one sentence if not.

With ``--anywhere`` any machine's worker will do: the health of a beat, without whose ticks nobody does anything.
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
            if "--anywhere" in sys.argv[1:]:
                seen = process_rows.last_seen(connection)
            else:
                seen = process_rows.last_seen_on(connection, socket.gethostname())
            now = store.now(connection)
    except CampaignError as error:
        print(error, file=sys.stderr)
        return 1
    if seen is None or now - seen > SILENT_AFTER:
        print(f"no worker has done anything here for {SILENT_AFTER:.0f} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
