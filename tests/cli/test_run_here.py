"""``run`` and ``up`` with nothing configured: everything starts inside the command and is gone after it."""

import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaign.services import results
from tests.cli.conftest import Cli

pytestmark = pytest.mark.slow

QUICK = ("--retry", "none")
WITHIN = 240.0


def numbers(cli: Cli, count: int) -> None:
    rows = [f"+1415555{serial:04d},P{serial}" for serial in range(100, 100 + count)]
    cli.write("list.csv", "\n".join(["Mobile,name", *rows, "12,bad", ""]))


def processes_of(home: Path) -> list[int]:
    """Processes that were started for this home and still run."""
    mark, found = f"CAMPAIGN_HOME={home}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def soon(condition: Callable[[], object], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(autouse=True)
def _nothing_left_behind(cli: Cli) -> Iterator[None]:
    yield
    for process in cli.running:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    assert soon(lambda: not processes_of(cli.home)), "a process outlived its command"


def sandbox(cli: Cli) -> str:
    """The URL of a simulator of its own, twenty times as fast as life."""
    process = cli.start("sandbox", "--port", "0", "--time-scale", "20", "--announce")
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline())["url"])


def calls_made(cli: Cli, name: str = "list") -> int:
    if name not in cli.campaigns():
        return 0
    with cli.store() as store:
        return int(results.summary(store, name)["attempts"]["total"])


def test_a_file_to_its_end(cli: Cli) -> None:
    # Given a file with one bad row, dialled with one flag's plan
    numbers(cli, 12)
    said = cli("run", "list.csv", "--region", "US", *QUICK, "--strict", "--json", "--yes", within=WITHIN)
    # Then the last thing printed is the campaign in figures, and --strict speaks in the exit code
    assert said.code == 3, said.err
    figures = said.json
    assert figures["state"] == "completed"
    assert figures["rows"] == {"read": 13, "accepted": 12, "duplicates": 0, "rejected": 1}
    assert figures["targets"]["done"] == 12
    assert sum(figures["dispositions"].values()) == 12
    # And the files are beside us
    rows = list(csv.DictReader(io.StringIO((cli.folder / "list.results.csv").read_text())))
    assert {row["name"] for row in rows} == {f"P{serial}" for serial in range(100, 112)}
    assert all(row["disposition"] and row["attempts"] == "1" for row in rows)
    assert (cli.folder / "list.rejects.csv").exists()
    # And off a terminal there is no picture
    assert "\x1b" not in said.err
    # When it is run again, then under the next free name, and no file is replaced
    before = (cli.folder / "list.results.csv").read_text()
    again = cli("run", "list.csv", "--region", "US", *QUICK, "-q", "--json", within=WITHIN)
    assert again.json["campaign"] == "list-2"
    assert (cli.folder / "list-2.results.csv").exists()
    assert (cli.folder / "list.results.csv").read_text() == before
    assert again.err == ""


def test_ctrl_c_leaves_a_campaign_that_up_goes_on_with(cli: Cli) -> None:
    # Given a provider that goes on while we do not, and a run in the middle of its calls
    numbers(cli, 40)
    cli.environ["CAMPAIGN_SANDBOX_URL"] = sandbox(cli)
    process = cli.start("run", "list.csv", "--region", "US", *QUICK, "--rate", "4")
    assert soon(lambda: calls_made(cli) >= 3, 60)
    # When Ctrl-C comes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # Then it ends as interrupted and says how to go on, and the campaign is where it was
    assert process.returncode == 130
    assert "`campaign up`" in err
    assert "Traceback" not in err
    figures = cli("show", "list", "--json").json
    assert figures["state"] == "running"
    assert figures["attempts"]["unconfirmed"] == 0
    made = figures["attempts"]["total"]
    assert 0 < made < 40
    # And nothing works any more but that provider
    assert soon(lambda: len(processes_of(cli.home)) == 1)
    # When `up` runs, faster now, and somebody watches
    cli("set", "list", "calls_per_second=none")
    up = cli.start("up")
    watched = cli("watch", "list", "--json", "-q", within=WITHIN)
    # Then the rest is dialled and nobody twice
    assert watched.json["state"] == "completed"
    assert watched.json["targets"]["done"] == 40
    assert watched.json["attempts"]["total"] == 40
    # And `up` ends well when it is told to
    up.send_signal(signal.SIGTERM)
    assert up.wait(60) == 0


def test_ctrl_c_lets_the_calls_of_its_own_sandbox_end(cli: Cli) -> None:
    # Given a run against the sandbox that it brought along, which will not be there to ask afterwards
    numbers(cli, 40)
    process = cli.start("run", "list.csv", "--region", "US", *QUICK, "--rate", "4")
    assert soon(lambda: calls_made(cli) >= 4, 60)
    # When Ctrl-C comes
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    # Then nothing is left in the air, the rest waits, and the campaign is running as before
    assert process.returncode == 130
    figures = cli("show", "list", "--json").json
    assert figures["state"] == "running"
    assert figures["attempts"]["live"] == 0
    assert figures["targets"]["waiting"] > 0


def test_a_killed_command_leaves_no_orphans(cli: Cli) -> None:
    numbers(cli, 60)
    process = cli.start("run", "list.csv", "--region", "US", *QUICK, "--rate", "4")
    assert soon(lambda: calls_made(cli) >= 1, 60)
    assert len(processes_of(cli.home)) > 1
    process.kill()
    process.wait()
    assert soon(lambda: not processes_of(cli.home), 60)


def test_two_commands_share_one_set_of_workers(cli: Cli) -> None:
    # Given `up`
    numbers(cli, 10)
    up = cli.start("up", "-q")
    assert soon((cli.home / "embedded.lock").exists, 60)
    assert soon(lambda: "none has been seen" not in cli("doctor").out, 60)
    # When a run is detached
    said = cli("run", "list.csv", "--region", "US", *QUICK, "--detach", "--json")
    assert said.code == 0, said.err
    assert said.json["state"] == "running"
    # Then those workers dial it, and watching needs none
    assert cli("watch", "list", "-q", "--json", within=WITHIN).json["targets"]["done"] == 10
    # And a run beside it joins them
    joined = cli("run", "list.csv", "--region", "US", *QUICK, "--json", within=WITHIN)
    assert joined.json["targets"]["done"] == 10
    assert "Another command dials on this machine already" in joined.err
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0


def test_a_person_at_a_terminal_sees_it_move(cli: Cli) -> None:
    # Given a terminal
    numbers(cli, 10)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        cli.command("run", "list.csv", "--region", "US", *QUICK), cwd=cli.folder,
        env={**cli.environ, "TERM": "xterm-256color", "COLUMNS": "100"}, stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    # When a file is run
    shown = _read_all(parent, WITHIN)
    assert process.wait(60) == 0
    # Then there is a bar that fills, the pace, what is in the air and how calls end, and a table at the end
    for word in ("━", "of 10", "calls/s", "in flight", "answered", "10 of 10", "disposition", "list.results.csv"):
        assert word in shown, word


def test_a_no_changes_nothing(recall: Cli) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        recall.command("cancel", "recall"),
        cwd=recall.folder,
        env=recall.environ,
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    os.write(parent, b"n\n")
    shown = _read_all(parent, 30)
    assert process.wait(30) == 130
    assert "3 numbers" in shown
    assert "Nothing was changed" in shown
    assert recall("show", "recall", "--json").json["state"] == "draft"


def test_no_color_is_honoured(cli: Cli) -> None:
    cli.write("n.csv", "phone\n+14155550100\n")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        cli.command("lines", "list"), cwd=cli.folder, env={**cli.environ, "NO_COLOR": "1", "TERM": "xterm-256color"},
        stdin=child, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    shown = _read_all(parent, 30)
    assert process.wait(30) == 0
    assert "sandbox" in shown
    assert "\x1b[3" not in shown


def _read_all(terminal: int, seconds: float) -> str:
    """What a terminal was shown, until its last writer has gone."""
    shown, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                block = os.read(terminal, 65_536)
            except OSError:  # Linux: the other side is closed
                break
            shown += block
    os.close(terminal)
    return shown.decode("utf-8", "replace")
