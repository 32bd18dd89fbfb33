"""The example in docs/adding-a-provider.md is whole: it passes the contract as it stands on the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-provider.md"
BLOCK = re.compile(r"^```\w+ title=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFTEST = """
import importlib.util, sys
from pathlib import Path
import tests.providers.recorded as recorded

here = Path(__file__).parent
recorded.FOLDER = here / "tests" / "providers" / "recordings"
file = here / "campaign" / "providers" / "parrot.py"
spec = importlib.util.spec_from_file_location("campaign.providers.parrot", file)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
"""


def blocks() -> dict[str, str]:
    return dict(BLOCK.findall(PAGE.read_text("utf-8")))


def test_the_page_shows_the_file_its_recordings_and_its_test() -> None:
    assert list(blocks()) == [
        "campaign/providers/parrot.py",
        "tests/providers/recordings/parrot/calls.json",
        "tests/providers/test_parrot.py",
    ]


def test_the_example_passes_the_contract(tmp_path: Path) -> None:
    # Given the blocks of the page as files outside the house
    for name, text in blocks().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --import-mode=importlib\n")
    # When its test class runs, Then the whole contract holds
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path / "tests")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed
    assert int(passed[1]) > 60
