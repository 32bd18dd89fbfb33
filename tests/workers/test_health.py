"""Health is progress that stands in the database: a worker that lives and consumes nothing is not healthy."""

import socket
import sys
from pathlib import Path

import pytest

from campaign.storage import process_rows
from campaign.storage.engine import open_store
from workers.health import SILENT_AFTER, main


def asked(monkeypatch: pytest.MonkeyPatch, url: str, folder: Path, *words: str) -> int:
    """The exit code."""
    monkeypatch.setenv("CAMPAIGN_DATABASE_URL", url)
    monkeypatch.setenv("CAMPAIGN_HOME", str(folder))
    monkeypatch.setattr(sys, "argv", ["health", *words])
    return main()


@pytest.mark.parametrize(("host", "age", "here", "anywhere"), [
    (None, 0.0, 1, 1),  # nobody has ever done anything
    ("this machine", 1.0, 0, 0),
    ("this machine", SILENT_AFTER + 5.0, 1, 1),  # its process may live: it has stopped
    ("another", 1.0, 1, 0),
])  # fmt: skip
def test_it_is_told_by_the_last_progress(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sqlite_url: str,
    tmp_path: Path,
    host: str | None,
    age: float,
    here: int,
    anywhere: int,
) -> None:
    store = open_store(sqlite_url)
    if host is not None:
        name = socket.gethostname() if host == "this machine" else host
        with store.write() as connection:
            process_rows.beat(connection, f"{name}:1", "dial", store.now(connection) - age)
    store.close()
    assert asked(monkeypatch, sqlite_url, tmp_path) == here
    assert ("no worker has done anything here" in capsys.readouterr().err) == bool(here)
    assert asked(monkeypatch, sqlite_url, tmp_path, "--anywhere") == anywhere


def test_a_database_that_is_not_there_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert asked(monkeypatch, f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'x'}", tmp_path) == 1
    assert "CAMPAIGN_DATABASE_URL" in capsys.readouterr().err
