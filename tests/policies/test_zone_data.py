"""Zone data tell how old they are, and come from the pinned package wherever the program runs."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from campaign.policies.zone_data import is_old


@pytest.mark.parametrize(("release", "today", "old"), [
    ("2025.2", (2025, 12, 31), False),
    ("2025.2", (2026, 6, 30), False),
    ("2025.2", (2026, 7, 1), True),
    ("2025b", (2027, 1, 1), True),
    ("2026.1", (2025, 1, 1), False),
    ("unknown", (2025, 1, 1), True),
])  # fmt: skip
def test_a_release_is_old_a_year_after_the_middle_of_its_own(
    release: str, today: tuple[int, int, int], old: bool
) -> None:
    assert is_old(release, datetime(*today, tzinfo=UTC).timestamp()) is old


def test_the_zones_of_the_machine_do_not_count(tmp_path: Path) -> None:
    # Given a machine whose own data say that Berlin lies where Tokyo does
    tokyo = (
        "import importlib.resources as r; print(r.files('tzdata.zoneinfo.Asia').joinpath('Tokyo').read_bytes().hex())"
    )
    wrong = subprocess.run([sys.executable, "-c", tokyo], capture_output=True, text=True, check=True).stdout
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(bytes.fromhex(wrong.strip()))
    ask = (
        "from datetime import datetime; from zoneinfo import ZoneInfo;"
        "print(datetime(2026, 1, 1, tzinfo=ZoneInfo('Europe/Berlin')).utcoffset())"
    )

    def offset(first: str) -> str:
        said = subprocess.run(
            [sys.executable, "-c", first + ask], capture_output=True, text=True, check=True,
            env={"PYTHONTZPATH": str(tmp_path), "PYTHONPATH": "."},
        )  # fmt: skip
        return said.stdout.strip()

    # Then Python would believe it, and with us it does not
    assert offset("") == "9:00:00"
    assert offset("import campaign; ") == "1:00:00"
