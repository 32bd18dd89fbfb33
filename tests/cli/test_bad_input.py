"""Bad input: one clear sentence, the documented exit code, and nothing half-done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import NUMBERS, Cli, Said
from tests.servers import free_port


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """A test is many commands, so they run in this process."""
    cli.apart = False
    return cli


LINE = '[lines.main]\nprovider = "pathors"\noptions = { project_id = "proj_1" }\n'


def one_sentence(said: Said, code: int, *words: str) -> None:
    """The exit code, one fault on stderr that holds ``words``, no traceback, nothing on stdout."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("Error:") == 1
    for word in words:
        assert word in said.err


def nothing_was_made(cli: Cli) -> None:
    assert cli.campaigns() == []
    assert [path.name for path in cli.folder.iterdir() if "results" in path.name or "rejects" in path.name] == []


def test_an_unknown_command_names_the_near_one(cli: Cli) -> None:
    one_sentence(cli("strat", "recall"), 2, "did you mean `campaign start`?")


def test_an_unknown_line_names_the_known_ones(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    one_sentence(cli("run", "numbers.csv", "--line", "sandbx"), 4, "'sandbx'", "sandbox")
    nothing_was_made(cli)


def test_a_missing_secret_is_named_and_not_asked_for(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    cli.write("lines.toml", LINE + 'credentials = { api_key = "env:PATHORS_KEY" }\n')
    one_sentence(cli("run", "numbers.csv", "--line", "main"), 2, "lines.main", "PATHORS_KEY is not set")
    nothing_was_made(cli)


def test_a_literal_secret_is_refused_and_not_repeated(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    cli.write("lines.toml", LINE + 'credentials = { api_key = "sk-very-secret" }\n')
    said = cli("run", "numbers.csv", "--line", "main")
    one_sentence(said, 2, "lines.main", "env:NAME")
    assert "sk-very-secret" not in said.err


def test_a_wrong_key_in_a_lines_file(cli: Cli) -> None:
    cli.write("lines.toml", "[lines.sandbox]\ncalls_per_secnd = 3\n")
    one_sentence(cli("lines", "list"), 2, "lines.sandbox.calls_per_secnd", "calls_per_second")


def test_a_wrong_key_in_the_settings_file(cli: Cli) -> None:
    cli.write("campaign.toml", 'regoin = "US"\n')
    one_sentence(cli("list"), 2, "regoin", "region")


def test_a_wrong_key_in_a_plan(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    cli.write("plan.toml", "max_atempts = 3\n")
    one_sentence(cli("run", "numbers.csv", "--plan", "plan.toml"), 2, "max_atempts", "max_attempts", "plan.toml")
    nothing_was_made(cli)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--retry", "busy"], ["--retry", "busy=5m,10m"]),
        (["--retry", "busy=soon"], ["retry.busy", "soon"]),
        (["--retry", "answered=5m"], ["answered", "final"]),
        (["--max-attempts", "0"], ["max_attempts", "command line"]),
        (["--hours", "noon"], ["hours.windows", "noon"]),
        (["--hours", "mon-fri 09:00-18:00", "--hours-zone", "Mars/Base"], ["hours.zone", "Mars/Base"]),
        (["--rate", "0"], ["pace.calls_per_second"]),
        (["--on-unknown", "guess"], ["on_unknown"]),
        (["--region", "UK"], ["region", "GB"]),
        (["--map", "Mobile"], ["--map", "phone=Mobile"]),
        (["--map", "phone=Handy"], ["Handy"]),
    ],
)
def test_a_wrong_flag_is_named_before_anything_is_made(cli: Cli, flags: list[str], words: list[str]) -> None:
    cli.write("numbers.csv", NUMBERS)
    one_sentence(cli.inside("run", "numbers.csv", *flags), 2, *words)
    nothing_was_made(cli)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no phone column": (lambda path: path.write_text("name,city\nAda,Rome\n"), "phone"),
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "only a header's end": (lambda path: path.write_bytes(b"\n\n"), "empty"),
    "a directory": (lambda path: path.mkdir(), "directory"),
    "missing": (lambda _path: None, "No such file"),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("command", ["run", "upload", "dnc import"])
def test_a_file_that_is_none(recall: Cli, case: str, command: str) -> None:
    make, word = FILES[case]
    (recall.folder / "numbers.csv").unlink()
    make(recall.folder / "numbers.csv")
    words = [*command.split(), *(["recall"] if command == "upload" else [])]
    one_sentence(recall.inside(*words, "numbers.csv"), 2, word)
    assert recall.campaigns() == ["recall"]


def test_results_that_could_not_be_written_stop_the_run_before_it_begins(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    one_sentence(cli("run", "numbers.csv", "--results", "nowhere/r.csv"), 2, "nowhere/r.csv", "--results")
    nothing_was_made(cli)


def test_a_name_that_is_taken(recall: Cli) -> None:
    one_sentence(recall("run", "numbers.csv", "--name", "recall"), 2, "'recall' exists")
    assert recall.campaigns() == ["recall"]


def test_a_database_out_of_reach(cli: Cli) -> None:
    cli.write("numbers.csv", NUMBERS)
    url = f"postgresql+psycopg://someone:hunter2@127.0.0.1:{free_port()}/campaign"
    said = cli("run", "numbers.csv", environ={"CAMPAIGN_DATABASE_URL": url})
    one_sentence(said, 5, "CAMPAIGN_DATABASE_URL", "does not answer")
    assert "hunter2" not in said.err


def test_a_database_url_that_is_none(cli: Cli) -> None:
    one_sentence(cli("list", environ={"CAMPAIGN_DATABASE_URL": "mysql://x"}), 2, "CAMPAIGN_DATABASE_URL")


def test_a_database_file_that_cannot_be_opened(cli: Cli) -> None:
    # A folder that is not there stands for one that may not be written to: who runs tests as root may write everywhere
    url = f"sqlite:///{cli.folder / 'nowhere' / 'campaign.sqlite'}"
    one_sentence(cli("list", environ={"CAMPAIGN_DATABASE_URL": url}), 5, "its folder", "CAMPAIGN_HOME")


def test_a_home_that_cannot_be_made(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    one_sentence(cli("list", environ={"CAMPAIGN_HOME": str(cli.folder / "file" / "home")}), 5, "CAMPAIGN_HOME")


@pytest.mark.parametrize(
    "words", [("run", "numbers.csv"), ("run", "numbers.csv", "--detach"), ("upload", "draft", "numbers.csv"), ("up",)]
)
def test_a_broker_out_of_reach_leaves_everything_as_it_was(cli: Cli, words: tuple[str, ...]) -> None:
    # Given a draft, and a broker that has gone
    cli.write("numbers.csv", NUMBERS)
    assert cli("create", "draft").code == 0
    database = {"CAMPAIGN_DATABASE_URL": f"sqlite:///{cli.home / 'campaign.sqlite'}"}
    away = database | {"CAMPAIGN_BROKER_URL": f"redis://:hunter2@127.0.0.1:{free_port()}/0"}
    # When a command would need workers, then it says so and has begun nothing
    said = cli(*words, environ=away)
    one_sentence(said, 5, "the broker", "does not answer", "CAMPAIGN_BROKER_URL")
    assert "hunter2" not in said.err
    assert cli.campaigns() == ["draft"]
    assert cli("show", "draft", "--json").json["rows"]["read"] == 0
    # And a campaign is not started for nobody to dial, though it may be looked at
    assert cli("upload", "draft", "numbers.csv").code == 0
    one_sentence(cli("start", "draft", environ=away), 5, "the broker")
    assert cli("show", "draft", "--json", environ=away).json["state"] == "draft"


def test_a_broker_out_of_reach_is_what_the_doctor_finds(cli: Cli) -> None:
    said = cli("doctor", "--json", environ={"CAMPAIGN_BROKER_URL": f"redis://:hunter2@127.0.0.1:{free_port()}/0"})
    assert said.code == 5
    broker = next(row for row in said.json if row["what"] == "broker")
    assert broker["result"] == "fault"
    assert "hunter2" not in said.out + said.err


def test_the_doctor_tells_several_faults_in_one_line(cli: Cli) -> None:
    cli.write("lines.toml", '[lines.a]\nprovider = "nope"\n[lines.b]\nprovider = "sandbox"\nmax_in_flight = 0\n')
    said = cli("doctor")
    assert said.code == 2
    assert "�" not in said.out
    told = next(line for line in said.out.splitlines() if line.startswith("lines"))
    assert "; lines.a.provider" in told
    assert "; lines.b.max_in_flight" in told


def test_a_database_without_tables_names_the_command_that_makes_them(cli: Cli, empty_postgres_url: str) -> None:
    # Given a server's database that nobody has prepared
    environ = {"CAMPAIGN_DATABASE_URL": empty_postgres_url}
    # Then a command refuses, and the one that it names mends it
    one_sentence(cli("list", environ=environ), 4, "no tables", "`campaign db upgrade`")
    assert cli("db", "upgrade", environ=environ).code == 0
    assert cli("list", "--json", environ=environ).json == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["show", "nobody"], 4, "no campaign 'nobody'"),
        (["pause", "recall"], 4, "has not been started"),
        (["watch", "recall"], 4, "has not been started"),
        (["set", "recall", "max_attempts"], 2, "calls_per_second=2"),
        (["set", "recall", "max_atempts=2"], 2, "max_attempts"),
        (["set", "recall", "line=mian"], 2, "sandbox"),
        (["retry", "recall", "--disposition", "answered", "--yes"], 2, "answered is final"),
        (["retry", "recall", "--disposition", "bsy"], 2, "'bsy'"),  # said before it asks
        (["retry", "recall"], 2, "--disposition"),
        (["retry", "recall", "--disposition", "busy", "--at", "tomorrow"], 2, "2026-11-23"),
        (["retry", "recall", "--disposition", "busy", "--at", "2099-01-01", "--every", "* * * * *"], 2, "give one"),
        (["retry", "recall", "--disposition", "busy"], 2, "--yes"),
        (["settle", "recall", "--as", "maybe", "--yes"], 2, "'maybe'"),
        (["attempts", "12"], 2, "country code"),
        (["attempts", "+14155550199"], 4, "never been called"),
        (["export", "recall", "-o", "no/where.csv"], 2, "no/where.csv"),
        (["lines", "describe", "twilio"], 4, "pathors"),
        (["lines", "set", "sandbox", "pace=2"], 2, "calls_per_second"),
        (["lines", "check", "main"], 4, "sandbox"),
    ],
)
def test_words_that_cannot_be_followed(recall: Cli, words: list[str], code: int, told: str) -> None:
    one_sentence(recall.inside(*words), code, told)


def test_an_exception_shows_its_class_only_and_debug_shows_where(recall: Cli, tmp_path: Path) -> None:
    # Given a database file that is none
    home = tmp_path / "broken"
    home.mkdir()
    (home / "campaign.sqlite").write_bytes(b"this is not a database, whatever its name says" * 100)
    environ = {"CAMPAIGN_HOME": str(home)}
    # When a command opens it
    said, debugged = recall("list", environ=environ), recall("--debug", "list", environ=environ)
    # Then one sentence, and the traceback only on demand
    assert said.code in (1, 5)
    assert "Traceback" not in said.err
    assert said.err.count("Error:") == 1
    assert debugged.code == said.code
