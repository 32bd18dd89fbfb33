"""Writes the next revision from what differs between ``schema.py`` and an empty database brought up to date.

A tool for whoever changes the tables: read what it wrote, format it, set ``HEAD`` in ``campaign/storage/migrate.py``.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import Script

from campaign.storage.engine import open_store
from campaign.storage.migrate import alembic_config, head, upgrade_store


def write_revision(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'empty.sqlite'}")
        before = head()
        if before:
            upgrade_store(store)
        with store.write() as connection:
            number = f"{int(before or 0) + 1:04d}"
            written = command.revision(alembic_config(connection), message, autogenerate=True, rev_id=number)
        store.close()
    assert isinstance(written, Script), "one head, one new revision"
    _strip_notes(Path(written.path))


def _strip_notes(path: Path) -> None:
    """Without Alembic's remarks to the person who is about to read the file anyway."""
    kept = [line for line in path.read_text().splitlines(keepends=True) if "###" not in line]
    path.write_text("".join(kept))


if __name__ == "__main__":
    write_revision(" ".join(sys.argv[1:]) or "tables changed")
