"""Help: every command has it with an example, starts fast, and the table of commands tells the truth."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from campaign.cli.command import Command
from campaign.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
INTERFACE = {
    *("run", "create", "upload", "start", "pause", "resume", "cancel", "list", "show", "watch", "why", "targets"),
    *("attempts", "set", "retry", "retries", "settle", "export", "rejects", "lines", "dnc", "sandbox", "serve", "up"),
    *("db", "doctor", "erase"),
}
NESTED = {
    "lines": {"list", "check", "describe"},
    "dnc": {"add", "import", "remove", "list"},
    "db": {"upgrade", "reconcile"},
}
DATA = ("list", "show", "why", "targets", "attempts", "retries", "settle", "run", "watch", "upload", "doctor")


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from leaves(command, (*path, name))
            else:
                yield (*path, name), command


LEAVES = dict(leaves(cli))


def test_every_command_of_the_interface_is_there() -> None:
    assert set(COMMANDS) == INTERFACE
    for group, verbs in NESTED.items():
        assert verbs <= {path[1] for path in LEAVES if path[0] == group}


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    with click.Context(command, info_name="campaign " + " ".join(path)) as ctx:
        text = command.get_help(ctx)
    assert isinstance(command, Command)
    assert command.examples
    assert all(example in text for example in command.examples)
    assert f"campaign {' '.join(path)}" in " ".join(command.examples)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} says nothing"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    with click.Context(cli) as ctx:
        command = cli.get_command(ctx, name)
    assert command is not None
    assert command.help is not None
    assert command.help.splitlines()[0] == COMMANDS[name][1]


def test_what_prints_data_prints_it_as_json_too() -> None:
    for path, command in LEAVES.items():
        if path[0] in DATA or path[0] in NESTED:
            assert any("--json" in parameter.opts for parameter in command.params), path


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], ("sqlalchemy", "pydantic", "rich", "phonenumbers", "campaign.config")),
        (["run", "--help"], ("sqlalchemy", "httpx", "rich", "phonenumbers")),
        (["list"], ("httpx", "rich", "fastapi", "phonenumbers", "alembic", "celery", "redis")),
        (["lines", "list"], ("celery", "redis", "fastapi", "phonenumbers")),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(words: list[str], unwanted: tuple[str, ...], tmp_path: Path) -> None:
    """Start-up time as a fact that does not depend on the machine: what gets imported."""
    program = (
        "import sys; from campaign.cli.main import run; assert run(sys.argv[1:]) == 0; "
        f"found = [name for name in {unwanted!r} if name in sys.modules]; assert not found, found"
    )
    environ = {"PYTHONPATH": str(ROOT), "CAMPAIGN_HOME": str(tmp_path), "HOME": str(tmp_path)}
    first = [sys.executable, "-m", "campaign", "list"]  # makes the tables, which takes Alembic
    for command in (first, [sys.executable, "-c", program, *words]):
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
