"""What the command line asks of others itself: a broker over a plain socket, a provider over a line."""

import json

import pytest

from campaign.cli.broker_ping import ping
from tests.cli.conftest import Cli
from tests.servers import free_port

LINES = """
[lines.right]
provider = "pathors"
base_url = "{url}"
allow_insecure = true
credentials = {{ api_key = "env:RIGHT" }}
options = {{ project_id = "p" }}

[lines.wrong]
provider = "pathors"
base_url = "{url}"
allow_insecure = true
credentials = {{ api_key = "env:WRONG" }}
options = {{ project_id = "p" }}
"""
KEYS = {"RIGHT": "key-of-the-account", "WRONG": "key-of-yesterday"}


def test_a_broker_that_answers(clean_redis_url: str) -> None:
    assert ping(clean_redis_url) is None


def test_a_password_that_the_broker_does_not_want(clean_redis_url: str) -> None:
    fault = ping(clean_redis_url.replace("redis://", "redis://:hunter2@"))
    assert fault is not None
    assert "CAMPAIGN_BROKER_URL" in fault
    assert "hunter2" not in fault


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_broker_that_is_not_there(scheme: str) -> None:
    port = free_port()
    fault = ping(f"{scheme}://:hunter2@127.0.0.1:{port}/0")
    assert fault is not None
    assert f"127.0.0.1:{port}" in fault
    assert "hunter2" not in fault


def test_lines_are_checked_at_their_provider(cli: Cli) -> None:
    # Given a provider that knows one key, and two lines
    sandbox = cli.start("sandbox", "--port", "0", "--announce", "--set", f'keys={{"pathors": "{KEYS["RIGHT"]}"}}')
    assert sandbox.stdout is not None
    url = json.loads(sandbox.stdout.readline())["url"]
    cli.write("lines.toml", LINES.format(url=url))
    # When they are checked, then one is usable, one refused (2: a fault of the configuration), and no key is shown
    environ = {**KEYS, "CAMPAIGN_SANDBOX_URL": url}
    good = cli("lines", "check", "right", "sandbox", "--json", environ=environ)
    bad = cli("lines", "check", "wrong", "--json", environ=environ)
    assert (good.code, [line["usable"] for line in good.json]) == (0, [True, True])
    assert (bad.code, bad.json[0]["result"]) == (2, "refused")
    assert KEYS["WRONG"] not in bad.out + bad.err


def test_a_provider_that_is_not_there_is_exit_code_5(cli: Cli) -> None:
    said = cli("lines", "check", "sandbox", environ={"CAMPAIGN_SANDBOX_URL": f"http://127.0.0.1:{free_port()}"})
    assert said.code == 5
    assert "out of reach" in said.out
