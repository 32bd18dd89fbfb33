"""A provider that only pushes, end to end: its results come in through ``campaign serve`` and nowhere else."""

import json
import re
import subprocess

import pytest

from tests.cli.conftest import Cli
from tests.cli.conftest import cli as cli  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.slow

LINES = """
[lines.main]
provider = "pathors"
base_url = "{url}"
allow_insecure = true
credentials = {{ api_key = "env:KEY", webhook_secret = "env:SANDBOX_WEBHOOK_SECRET" }}
caller_ids = ["+14155550199"]
options = {{ project_id = "proj_1" }}
calls_per_second = 20
"""


def first(process: "subprocess.Popen[str]", pattern: str) -> str:
    """What ``pattern`` finds in the first line on stderr that has it."""
    assert process.stderr is not None
    while line := process.stderr.readline():
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError("it ended without a word")


def test_a_campaign_of_which_every_result_is_pushed(cli: Cli) -> None:
    # Given a web edge, and a provider that pushes to it
    cli.environ |= {"KEY": "dk_1", "SANDBOX_WEBHOOK_SECRET": "pushed-secret-77"}
    cli.write("lines.toml", LINES.format(url="http://127.0.0.1:9"))
    port = first(cli.start("serve", "--port", "0"), r":(\d+);")
    hook = f"pathors=http://127.0.0.1:{port}/hooks/main"
    sandbox = cli.start("sandbox", "--port", "0", "--time-scale", "50", "--webhook", hook, "--announce")
    assert sandbox.stdout is not None
    cli.write("lines.toml", LINES.format(url=json.loads(sandbox.stdout.readline())["url"]))
    # When a file is dialled through it
    cli.write("list.csv", "\n".join(["phone", *(f"+1415555{serial:04d}" for serial in range(100, 112)), ""]))
    said = cli("run", "list.csv", "--line", "main", "--retry", "none", "--yes", "--json", within=120)
    # Then every number has its end, and nobody had to give up or decide
    assert said.code == 0, said.err
    assert said.json["targets"]["done"] == 12
    assert sum(said.json["dispositions"].values()) == 12
    assert "unknown" not in said.json["dispositions"]
