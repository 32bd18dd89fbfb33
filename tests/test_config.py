"""Settings, lines and plans: what beats what, and that every fault says its key, its source and its remedy."""

import logging
import re
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from campaign.config import KEYS, Settings, build_plan, load_lines, load_plan, load_settings
from campaign.domain.dispositions import Disposition
from campaign.domain.errors import UsageFault

CANARY = "sk-canary-7f3a"


def settings(
    tmp_path: Path, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    return load_settings(flags or {}, {"HOME": "/home/nobody", **(environ or {})}, tmp_path, terminal=True)


def lines_of(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, **more: Any) -> Any:
    (tmp_path / "lines.toml").write_text(text)
    return load_lines(settings(tmp_path), environ or {}, **more)


def fault_of(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UsageFault) as caught:
        call(*args, **kwargs)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What beats what


def test_with_nothing_configured_everything_is_embedded(tmp_path: Path) -> None:
    found = settings(tmp_path, environ={"XDG_DATA_HOME": "/data"})
    assert found.embedded
    assert found.home == Path("/data/campaign")
    assert found.database_url == "sqlite:////data/campaign/campaign.sqlite"
    assert (found.broker_url, found.lines_path, found.region) == (None, None, None)


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text('region = "TW"\nlog_format = "json"\nhome = "data"')
    environ = {"CAMPAIGN_REGION": "DE", "CAMPAIGN_LOG_FORMAT": ""}
    assert settings(tmp_path).region == "TW"
    assert settings(tmp_path, environ=environ).region == "DE"
    assert settings(tmp_path, {"region": "us", "home": None}, environ).region == "US"
    assert settings(tmp_path, environ=environ).log_format == "json"  # an empty variable is not given
    assert settings(tmp_path).home == tmp_path / "data"  # a path in the file starts from the file


def test_a_named_file_is_read_instead_of_the_one_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text('region = "TW"')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c.toml").write_text('region = "IN"\nhome = "here"')
    found = settings(tmp_path, {"config": "other/c.toml"})
    assert (found.region, found.home) == ("IN", tmp_path / "other" / "here")


def test_lines_toml_in_the_working_folder_is_found_and_a_named_one_beats_it(tmp_path: Path) -> None:
    (tmp_path / "lines.toml").write_text("")
    (tmp_path / "mine.toml").write_text("")
    assert settings(tmp_path).lines_path == tmp_path / "lines.toml"
    assert settings(tmp_path, environ={"CAMPAIGN_LINES": "mine.toml"}).lines_path == tmp_path / "mine.toml"


def test_text_logs_on_a_terminal_and_json_elsewhere(tmp_path: Path) -> None:
    assert load_settings({}, {}, tmp_path, terminal=True).log_format == "text"
    assert load_settings({}, {}, tmp_path, terminal=False).log_format == "json"


def test_a_database_or_broker_url_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:secret@redis:6379/0\n")
    environ = {"CAMPAIGN_BROKER_URL": "file:url", "CAMPAIGN_DATABASE_URL": "env:DSN", "DSN": "postgresql://h/d"}
    found = settings(tmp_path, environ=environ)
    assert found.broker_url == "redis://:secret@redis:6379/0"
    assert found.database_url == "postgresql://h/d"
    assert not found.embedded
    assert "secret" not in repr(found)


# What is wrong with settings


def test_all_faults_come_at_once_each_with_key_source_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text('reigon = "US"\nlog_format = "xml"\nhome = 3')
    environ = {
        "CAMPAIGN_BROKER_URL": f"amqp://user:{CANARY}@h",
        "CAMPAIGN_LINES": "nowhere.toml",
        "CAMPAIGN_DATABSE_URL": "x",
    }
    said = fault_of(settings, tmp_path, {"database_url": f"mysql://u:{CANARY}@h/d", "region": "UK"}, environ)
    for part in (
        "8 faults",
        "CAMPAIGN_BROKER_URL from the environment: not a broker URL; write redis://",
        "CAMPAIGN_LINES from the environment: there is no file",
        "CAMPAIGN_DATABSE_URL from the environment: unknown; did you mean CAMPAIGN_DATABASE_URL?",
        "--database-url on the command line: not a database URL; write postgresql+psycopg://",
        "--region on the command line: not a region; write GB",
        "reigon in " + str(tmp_path / "campaign.toml") + ": unknown key; did you mean region?",
        "log_format in ",
        "home in ",
    ):
        assert part in said
    assert CANARY not in said


def test_each_bad_value_is_refused_alone(tmp_path: Path) -> None:
    for name, bad in {
        "database_url": "postgres://h/d",
        "broker_url": "redis:///0",
        "lines": ".",
        "region": "Germany",
        "log_format": "xml",
        "sandbox_url": "ftp://h",
    }.items():
        said = fault_of(settings, tmp_path, environ={f"CAMPAIGN_{name.upper()}": bad})
        assert said.startswith(f"CAMPAIGN_{name.upper()} from the environment: ")
        assert "\n" not in said


def test_a_config_file_that_is_not_there_or_no_toml_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in fault_of(settings, tmp_path, {"config": "c.toml"})
    (tmp_path / "c.toml").write_text("region = US")
    said = fault_of(settings, tmp_path, {"config": "c.toml"})
    assert "c.toml: not valid TOML" in said
    assert "line 1" in said
    (tmp_path / "c.toml").write_bytes("região = 1".encode("latin-1"))
    assert "not UTF-8" in fault_of(settings, tmp_path, {"config": "c.toml"})


def test_every_key_has_a_meaning_and_is_a_field_of_the_settings() -> None:
    fields = set(Settings.__dataclass_fields__)
    for name, key in KEYS.items():
        assert key.meaning
        assert name in fields or f"{name}_path" in fields


# Lines

RECALL = """
[lines.recall]
provider = "pathors"
base_url = "https://api.pathors.com"
calls_per_second = 5.0
max_in_flight = 40
credentials = { api_key = "env:PATHORS_API_KEY" }
caller_ids = ["+886225550100"]
options = { project_id = "proj_abc123" }
poll = { first_after = "20s", every = "15s", at_most_every = "5m", give_up_after = "2h" }
timeout = "20s"
"""


def test_the_documented_line_is_read(tmp_path: Path) -> None:
    line = lines_of(tmp_path, RECALL, {"PATHORS_API_KEY": CANARY})["recall"]
    assert (line.name, line.provider, line.calls_per_second, line.max_in_flight) == ("recall", "pathors", 5.0, 40)
    assert line.poll.at_most_every == 300.0
    assert line.secret("api_key") == CANARY
    assert CANARY not in repr(line) + str(line) + str(line.model_dump())


def test_how_long_before_closing_a_line_stops_is_read_and_checked(tmp_path: Path) -> None:
    secrets = {"PATHORS_API_KEY": CANARY}
    assert lines_of(tmp_path, RECALL, secrets)["recall"].queue_margin is None
    for written, seconds in (('"12m"', 720.0), ('"0s"', 0.0), ("0", 0.0)):
        text = f"{RECALL}queue_margin = {written}\n"
        assert lines_of(tmp_path, text, secrets)["recall"].queue_margin == seconds
    for written, words in (("-1", "greater than or equal to 0"), ('"a while"', "is not a duration"), ("inf", "finite")):
        said = fault_of(lines_of, tmp_path, f"{RECALL}queue_margin = {written}\n", secrets)
        assert said.startswith("lines.recall.queue_margin in ")
        assert words in said


def test_the_sandbox_is_always_there_and_single_keys_of_it_can_be_changed(tmp_path: Path) -> None:
    plain = load_lines(settings(tmp_path), {})["sandbox"]
    assert (plain.provider, plain.base_url) == ("sandbox", "http://127.0.0.1:8777")
    elsewhere = settings(tmp_path, environ={"CAMPAIGN_SANDBOX_URL": "http://sandbox:8777"})
    assert load_lines(elsewhere, {})["sandbox"].base_url == "http://sandbox:8777"
    changed = lines_of(tmp_path, '[lines.sandbox]\nmax_in_flight = 7\npoll = { every = "9s" }')["sandbox"]
    assert (changed.max_in_flight, changed.calls_per_second) == (7, plain.calls_per_second)
    assert (changed.poll.every, changed.poll.first_after) == (9.0, plain.poll.first_after)


def test_a_secret_comes_from_a_file_beside_the_lines_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = tmp_path / "key"
    key.write_text(f"{CANARY}\n")
    key.chmod(0o600)
    text = RECALL.replace("env:PATHORS_API_KEY", "file:key")
    assert lines_of(tmp_path, text)["recall"].secret("api_key") == CANARY
    assert caplog.records == []
    key.chmod(0o644)  # then every user of the machine can read it: a warning, not a fault
    with caplog.at_level(logging.WARNING):
        lines_of(tmp_path, text)
    assert "chmod 600" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (f'"{CANARY}"', "only ever a reference"),
        ("42", "only ever a reference"),
        ('"env:"', "only ever a reference"),
        (f'"env:{CANARY}"', "not the name of an environment variable"),
        ('"env:NOT_SET"', "the environment variable NOT_SET is not set; export it"),
        ('"env:BLANK"', "the environment variable BLANK is not set"),
        ('"file:nowhere"', "nowhere cannot be read"),
        ('"file:empty"', "is empty; write the secret into it"),
    ],
)
def test_a_secret_that_is_not_to_be_had(tmp_path: Path, reference: str, words: str) -> None:
    (tmp_path / "empty").write_text("\n")
    text = RECALL.replace('"env:PATHORS_API_KEY"', reference)
    said = fault_of(lines_of, tmp_path, text, {"BLANK": " "})
    assert said.startswith(f"lines.recall.credentials.api_key in {tmp_path / 'lines.toml'}: ")
    assert words in said
    assert CANARY not in said


def test_every_fault_of_every_line_comes_at_once(tmp_path: Path) -> None:
    text = """
        max_in_flight = 3
        [lines.a]
        provder = "pathors"
        base_url = "https://h"
        [lines.b]
        provider = "pathors"
        base_url = "https://h"
        calls_per_second = 0
        max_in_flight = "many"
        poll = { evry = "15s", give_up_after = "soon" }
        name = "c"
        [lines."no spaces"]
        provider = "pathors"
        base_url = "https://h"
    """
    said = fault_of(lines_of, tmp_path, text)
    where = f" in {tmp_path / 'lines.toml'}: "
    for part in (
        "max_in_flight" + where + "unknown key; a line is a table",
        "lines.a.provder" + where + "unknown key; did you mean provider?",
        "lines.a.provider" + where + "missing",
        "lines.b.calls_per_second" + where + "it should be greater than 0",
        "lines.b.max_in_flight" + where + "it should be a valid integer",
        "lines.b.poll.evry" + where + "unknown key; did you mean every?",
        "lines.b.poll.give_up_after" + where + "'soon' is not a duration",
        "lines.b.name" + where,
        "lines.no spaces" + where + "a line's name is",
    ):
        assert part in said
    assert said.startswith("9 faults")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("api.example.com", "not a web address"),
        ("https://", "not a web address"),
        ("https://h:port", "not a URL"),
        ("http://10.0.0.5", "plain http would send the key in the clear"),
        (f"https://user:{CANARY}@h", "put it into credentials"),
        ("https://h/v1?key=1", "before any ?"),
        ("https://169.254.169.254", "link-local"),
        ("https://[::ffff:169.254.169.254]", "link-local"),
    ],
)
def test_a_base_url_that_must_not_be_dialled(tmp_path: Path, url: str, words: str) -> None:
    said = fault_of(lines_of, tmp_path, f'[lines.a]\nprovider = "pathors"\nbase_url = "{url}"')
    assert said.startswith("lines.a.base_url in ")
    assert words in said
    assert CANARY not in said


@pytest.mark.parametrize(
    "line",
    [
        'base_url = "https://api.example.com:8443/v1"',
        'base_url = "http://127.0.0.1:9000"',
        'base_url = "http://[::1]:9000"',
        'base_url = "http://localhost"',
        'base_url = "http://10.0.0.5"\nallow_insecure = true',
    ],
)
def test_a_base_url_that_is_accepted(tmp_path: Path, line: str) -> None:
    assert lines_of(tmp_path, f'[lines.a]\nprovider = "pathors"\n{line}')["a"].base_url


def test_known_providers_bring_their_address_and_unknown_ones_are_named(tmp_path: Path) -> None:
    known = {"pathors": "https://api.pathors.com", "nexbro": None, "sandbox": None}
    assert lines_of(tmp_path, '[lines.a]\nprovider = "pathors"', providers=known)["a"].base_url == known["pathors"]
    said = fault_of(lines_of, tmp_path, '[lines.a]\nprovider = "pathor"', providers=known)
    assert "lines.a.provider" in said
    assert "unknown provider 'pathor'; did you mean pathors?" in said
    assert "base_url" not in said
    said = fault_of(lines_of, tmp_path, '[lines.a]\nprovider = "nexbro"', providers=known)
    assert "lines.a.base_url" in said


def test_a_certificate_file_must_be_there(tmp_path: Path) -> None:
    text = '[lines.a]\nprovider = "nexbro"\nbase_url = "https://h"\nca_file = "ca.pem"'
    assert "lines.a.ca_file" in fault_of(lines_of, tmp_path, text)
    (tmp_path / "ca.pem").write_text("x")
    assert lines_of(tmp_path, text)["a"].ca_file == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("text", ["lines = 3", "[lines]\na = 3"])
def test_a_lines_file_of_another_shape(tmp_path: Path, text: str) -> None:
    assert "table" in fault_of(lines_of, tmp_path, text)


# Plans


def test_a_plan_is_read_and_the_command_line_lies_over_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('max_attempts = 3\n[retry]\nbusy = ["5m", "15m"]\nerror = "10m"\n[pace]\nweight = 2')
    plan = load_plan(
        path,
        {
            "max_attempts": 5,
            "retry.no_answer": "3s, 5s",
            "pace.max_in_flight": 9,
            "hours.windows": "mon-fri 09:00-18:00, sat 10:00-14:00",
        },
    )
    assert plan.max_attempts == 5
    assert plan.retry == {Disposition.BUSY: (300, 900), Disposition.ERROR: (600,), Disposition.NO_ANSWER: (3, 5)}
    assert (plan.pace.weight, plan.pace.max_in_flight) == (2.0, 9)
    assert plan.hours is not None
    assert [window.days for window in plan.hours.windows] == [("mon", "tue", "wed", "thu", "fri"), ("sat",)]
    assert plan.hours.windows[1].closes == time(14)


def test_no_plan_file_is_the_default_plan() -> None:
    assert load_plan(None, {}) == build_plan({}, {})


def test_every_fault_of_a_plan_comes_at_once_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        """
        max_attempt = 3
        on_unknown = "perhaps"
        [retry]
        bussy = "5m"
        answered = "5m"
        [[hours.windows]]
        from = "18:00"
        too = "20:00"
        """
    )
    said = fault_of(load_plan, path, {"retry.busy": "5m, later", "pace.wait": "1"})
    for part in (
        f"max_attempt in {path}: unknown key; did you mean max_attempts?",
        f"on_unknown in {path}: it should be 'hold', 'retry' or 'done'",
        f"retry.bussy in {path}: unknown key; did you mean busy?",
        f"hours.windows.0.too in {path}: unknown key; did you mean to?",
        "retry.busy.1 on the command line: 'later' is not a duration",
        "pace.wait on the command line: unknown key",
    ):
        assert part in said


def test_a_rule_that_can_never_apply_is_refused(tmp_path: Path) -> None:
    assert "answered is final" in fault_of(load_plan, None, {"retry.answered": "5m"})
    assert "write it like mon-fri" in fault_of(load_plan, None, {"hours.windows": "mornings"})
    assert "hours.windows.0.days" in fault_of(load_plan, None, {"hours.windows": "mom 09:00-10:00"})


def test_the_example_plan_is_a_plan_and_so_is_what_it_only_mentions(tmp_path: Path) -> None:
    text = Path("examples/plan.toml").read_text()
    plan = load_plan(Path("examples/plan.toml"), {})
    assert max(delay for delays in plan.retry.values() for delay in delays) <= 5
    shown, mentioned = text.split("# What a real campaign would add:\n")
    (tmp_path / "whole.toml").write_text(shown + re.sub(r"^# ?", "", mentioned, flags=re.MULTILINE))
    whole = load_plan(tmp_path / "whole.toml", {})
    assert whole.hours is not None
    assert (whole.pace.max_in_flight, whole.caps.per_day) == (20, 1)
