"""``campaign serve`` as a process: it says where it listens, logs no secret, and ends in good order."""

import http.client
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.cli.conftest import cli as cli  # noqa: PLC0414 - a fixture

LINES = """
[lines.main]
provider = "pathors"
credentials = { api_key = "env:KEY", webhook_secret = "env:HOOK" }
options = { project_id = "p" }
"""
ENVIRON = {"KEY": "sk-1", "HOOK": "hook-secret-91ab"}


def serving(cli: Cli, *words: str) -> tuple["subprocess.Popen[str]", int, str]:
    """The process, its port and what it said until it listened."""
    cli.write("lines.toml", LINES)
    process = cli.start("serve", "--port", "0", *words, environ=ENVIRON)
    assert process.stderr is not None
    said = ""
    while not (found := re.search(r"http://\S+?:(\d+);", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    return process, int(found[1]), said


def test_it_serves_and_ends_on_sigterm(cli: Cli) -> None:
    # Given the server
    process, port, _ = serving(cli)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    # When a provider delivers with the key in the address
    link.request("POST", f"/hooks/main?token={ENVIRON['HOOK']}", b"{}")
    answer = link.getresponse()
    assert (answer.status, answer.getheader("server")) == (200, None)
    link.close()
    # And it is told to end
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    # Then it does so in good order, the delivery is in its log and the key is not
    assert process.returncode == 0
    assert out == ""
    assert "POST /hooks/main 200" in err
    assert ENVIRON["HOOK"] not in err
    assert "Traceback" not in err


def test_ctrl_c_is_the_same(cli: Cli) -> None:
    process, _, _ = serving(cli)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err


def test_an_interrupt_that_comes_as_soon_as_it_listens_is_not_lost() -> None:
    """In an import it may be: `Exception ignored in: <function _get_module_lock.<locals>.cb>` was seen."""
    # Given somebody who ends it the moment it says that it listens
    script = """
import signal, socket
from fastapi import FastAPI
from campaign.console.listening import serve

def listening():
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)

serve(FastAPI(), socket.create_server(("127.0.0.1", 0)), listening)
print("ended")
"""
    # When it serves
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    # Then the interrupt met the server's own handler, in which nothing is raised, and ended it in good order
    assert (done.returncode, done.stdout.split()) == (0, ["False", "ended"]), done.stderr


def test_listening_to_the_outside_says_what_that_means(cli: Cli) -> None:
    process, _, said = serving(cli, "--host", "0.0.0.0")
    assert process.stderr is not None
    assert "TLS" in said + process.stderr.readline()


@pytest.mark.parametrize("words", [("--port", "99999"), ("--host", "203.0.113.7")])
def test_an_address_that_cannot_be_had(cli: Cli, words: tuple[str, str]) -> None:
    said = cli("serve", *words)
    assert said.code == 2
    assert words[0] in said.err
    assert "Traceback" not in said.err


def test_a_port_that_is_taken(cli: Cli, tmp_path: Path) -> None:
    _, port, _ = serving(cli)
    said = cli("serve", "--port", str(port), environ=ENVIRON)
    assert said.code == 2
    assert f"--port {port}" in said.err
