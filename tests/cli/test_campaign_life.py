"""A campaign from draft to canceled by commands alone: what each prints, where it prints it, and how it exits."""

import csv
import io
import json
from typing import Any

import pytest

from campaign.storage import events, process_rows
from tests.cli.conftest import Cli


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """A test is many commands, so they run in this process."""
    cli.apart = False
    return cli


KEYS = {
    *("campaign", "state", "why", "rows", "targets", "dispositions", "attempts", "lines", "started_at", "ended_at"),
}


def test_create_upload_and_show(cli: Cli) -> None:
    # Given a file with a duplicate and a bad row
    cli.write("n.csv", "Mobile;name\n0170 1234567;Ada\n+49 170 1234567;Ada\n12;Bo\n+14155550100;Cy\n")
    # When it is uploaded into a new campaign, in two commands
    made = cli("create", "Mai 2026", "--region", "DE", "--retry", "busy=5m,10m", "--max-attempts", "3", "--json")
    sent = cli("upload", "Mai 2026", "n.csv", "--json")
    # Then data are on stdout alone, and the region of the campaign reads the numbers
    assert (made.code, sent.code) == (0, 0)
    assert made.json["plan"]["retry"]["busy"] == ["5m", "10m"]
    assert made.json["plan"]["max_attempts"] == 3
    assert sent.json["rows"] == {"read": 4, "accepted": 2, "duplicates": 1, "rejected": 1}
    shown = cli("show", "Mai 2026", "--json").json
    assert set(shown) == KEYS
    assert shown["targets"]["waiting"] == 2
    assert shown["lines"]["sandbox"]["state"] == "open"


def test_the_same_file_twice_adds_nothing(recall: Cli) -> None:
    again = recall("upload", "recall", "numbers.csv", "--json")
    assert again.json["already"] is True
    assert recall("show", "recall", "--json").json["targets"]["total"] == 3


def test_strict_is_exit_code_3_and_keeps_the_good_rows(recall: Cli) -> None:
    recall.write("more.csv", "phone\n+14155550110\nnobody\n")
    assert recall("upload", "recall", "more.csv", "--strict").code == 3
    assert recall("show", "recall", "--json").json["targets"]["total"] == 4


def test_the_rejected_rows_come_back_mendable(recall: Cli) -> None:
    # Given a file of which one row is bad
    recall.write("more.csv", "phone,name\n+14155550110,Dee\n0171 55,Eve\n")
    recall("upload", "recall", "more.csv")
    # When its rejects are mended and uploaded
    assert recall("rejects", "recall", "-o", "mend.csv").code == 0
    mended = (recall.folder / "mend.csv").read_text().replace("0171 55", "+14155550111")
    recall.write("mended.csv", mended)
    again = recall("upload", "recall", "mended.csv", "--json").json
    # Then the row is in, and stdout can take it as well
    assert again["rows"]["accepted"] == 1
    assert recall.process("rejects", "recall", "-o", "-").out.startswith("_line,_field,_reason,_remedy,phone,name")


def test_start_pause_resume_cancel(recall: Cli) -> None:
    # Said twice is done once, and each says what it did on stderr
    for word, state in (("start", "running"), ("pause", "paused"), ("pause", "paused"), ("resume", "running")):
        said = recall(word, "recall", "--json")
        assert (said.code, said.json["state"]) == (0, state), said.err
    # Nobody works yet, and that is said
    assert "campaign up" in recall("resume", "recall").err
    # Canceling asks; off a terminal it wants --yes
    refused = recall("cancel", "recall")
    assert (refused.code, refused.out) == (2, "")
    assert "3 numbers" in refused.err
    assert "--yes" in refused.err
    assert recall("show", "recall", "--json").json["state"] == "running"
    assert recall("cancel", "recall", "--yes", "--json").json["state"] == "canceled"
    assert recall("show", "recall", "--json").json["targets"]["skipped"] == 3
    assert recall("start", "recall").code == 4


def test_starting_a_line_that_rings_people_asks(recall: Cli) -> None:
    # Given a campaign on a real provider's line
    recall.write("key", "sk-1")
    recall.write("lines.toml", '[lines.main]\nprovider = "pathors"\ncredentials = { api_key = "file:key" }\n'
                               'options = { project_id = "p" }\ncaller_ids = ["+14155550190"]\n')  # fmt: skip
    assert recall("create", "real", "--line", "main").code == 0
    # Then starting or running it needs a yes, and without one nothing is made or started
    assert recall("start", "real").code == 2
    refused = recall("run", "numbers.csv", "--line", "main")
    assert refused.code == 2
    assert "Call 3 numbers of numbers.csv through line main (pathors)?" in refused.err
    assert recall.campaigns() == ["real", "recall"]
    assert recall("start", "real", "--yes").code == 0


def test_set_changes_the_plan(recall: Cli) -> None:
    said = recall("set", "recall", "calls_per_second=2", "retry.busy=1m", "--json")
    assert said.json["plan"]["pace"]["calls_per_second"] == 2
    assert said.json["plan"]["retry"]["busy"] == ["1m"]


def test_targets_and_why(recall: Cli) -> None:
    targets = recall("targets", "recall", "--json").json
    assert [target["phone"] for target in targets] == ["+14155550100", "+14155550101", "+14155550102"]
    assert targets[0]["variables"] == {"name": "Ada"}
    assert "first 1" in recall("targets", "recall", "--limit", "1").err
    assert "campaign start recall" in " ".join(recall("why", "recall", "--json").json["why"])
    assert "due" in recall("why", "recall", "(415) 555-0100", environ={"CAMPAIGN_REGION": "US"}).out


def test_do_not_call(recall: Cli) -> None:
    # When one number is listed by hand and one by a file with a bad row
    recall.write("out.csv", "tel\n+14155550101\nnope\n")
    by_hand = recall("dnc", "add", "(415) 555-0100", "--region", "US", "--reason", "asked", "--json")
    by_file = recall("dnc", "import", "out.csv", "--json")
    # Then both wait no longer, and the bad row is named without its content
    assert by_hand.json == {"added": 1, "known": 0, "skipped": 1, "rejected": 0}
    assert by_file.json == {"added": 1, "known": 0, "skipped": 1, "rejected": 1}
    assert "line 3" in by_file.err
    assert "nope" not in by_file.err
    assert recall("show", "recall", "--json").json["targets"]["skipped"] == 2
    listed = recall("dnc", "list", "--json").json
    assert {row["phone"]: row["reason"] for row in listed} == {"+14155550100": "asked", "+14155550101": ""}
    assert recall("dnc", "remove", "+14155550100", "+14155550199", "--json").json == {"removed": 1, "not_listed": 1}


def test_retry_batches(recall: Cli) -> None:
    every = ("--every", "0 10 * * mon-fri", "--zone", "Europe/Berlin")
    planned = recall("retry", "recall", "--disposition", "busy,no_answer", *every, "--yes", "--json")
    assert planned.json["dispositions"] == ["busy", "no_answer"]
    listed = recall("retries", "recall", "--json").json
    assert [batch["every"] for batch in listed] == ["0 10 * * mon-fri"]
    assert recall("retry", "recall", "--end", str(planned.json["batch"])).code == 0
    assert recall("retries", "recall", "--json").json[0]["next_fire_at"] is None
    assert recall("retry", "recall", "--disposition", "busy").code == 2


def test_settle_lists_and_decides(recall: Cli) -> None:
    assert recall("settle", "recall", "--json").json == []
    done = recall("settle", "recall", "--as", "no_answer", "--number", "+14155550100", "--yes", "--json")
    assert done.json == {"held": 0, "unconfirmed": 0, "untouched": 1}


def test_export_to_a_file_and_to_stdout(recall: Cli) -> None:
    assert recall("export", "recall", "-o", "r.csv").code == 0
    rows = list(csv.DictReader(io.StringIO((recall.folder / "r.csv").read_text())))
    assert [row["name"] for row in rows] == ["Ada", "Bo", "Cy"]
    lines = recall.process("export", "recall", "-o", "-", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["phone"] for line in lines] == ["+14155550100", "+14155550101", "+14155550102"]
    assert [path.name for path in recall.folder.iterdir() if ".part" in path.name] == []


def test_lines(cli: Cli) -> None:
    assert [line["line"] for line in cli("lines", "list", "--json").json] == ["sandbox"]
    described: Any = cli("lines", "describe", "pathors", "--json").json
    assert described["credentials"] == ["api_key"]
    assert described["options"]["project_id"]["required"] is True
    assert described["options"]["route"]["type"] == "v1 or project"
    assert {about["provider"] for about in cli("lines", "describe", "--json").json} >= {"nexbro", "sandbox"}
    slower = cli("lines", "set", "sandbox", "calls_per_second=2", "--json").json
    assert (slower["calls_per_second"], slower["set_while_running"]) == (2.0, True)
    assert cli("lines", "reset", "sandbox", "--json").json["state"] == "open"


def test_dry_run_stores_nothing(cli: Cli) -> None:
    cli.write("n.csv", "tel,name\n0171 1234567,Ada\n0171 1234567,Ada\nx,Bo\n")
    said = cli("run", "n.csv", "--region", "DE", "--dry-run", "--json")
    assert said.json["rows"] == {"read": 3, "accepted": 1, "duplicates": 1, "rejected": 1}
    assert said.json["first_rejects"][0]["line"] == 4
    assert not cli.home.exists()
    assert cli("run", "n.csv", "--region", "DE", "--dry-run", "--strict").code == 3


def test_detaching_with_nobody_to_dial_is_refused(cli: Cli) -> None:
    cli.write("n.csv", "phone\n+14155550100\n")
    said = cli("run", "n.csv", "--detach")
    assert said.code == 2
    assert "campaign up" in said.err
    assert cli.campaigns() == []


def test_the_doctor_on_a_bare_machine(cli: Cli) -> None:
    said = cli("doctor", "--json")
    assert said.code == 0
    assert {row["what"] for row in said.json} >= {
        "settings",
        "database",
        "tables",
        "lines",
        "broker",
        "workers",
        "clock",
    }


def test_colours_and_pictures_stay_away_from_a_pipe(recall: Cli) -> None:
    for words in (("list",), ("show", "recall"), ("targets", "recall"), ("doctor",), ("lines", "list")):
        said = recall(*words)
        assert "\x1b" not in said.out + said.err


def test_the_flags_of_the_front_are_understood_behind_too(recall: Cli) -> None:
    elsewhere = str(recall.folder / "elsewhere")
    assert recall("list", "--json", "--home", elsewhere).json == []
    assert recall("--home", elsewhere, "list", "--json").json == []
    recall.write("other.toml", "[lines.sandbox]\nmax_in_flight = 7\n")
    assert recall("lines", "list", "--json", "--lines", "other.toml").json[0]["max_in_flight"] == 7


def test_an_output_that_is_not_utf8_gets_what_it_can_show(recall: Cli) -> None:
    recall.write("more.csv", "phone,name\n+14155550110,Wang 許\n")
    recall("upload", "recall", "more.csv")
    said = recall("targets", "recall", "--json", environ={"PYTHONIOENCODING": "latin-1"})
    assert said.code == 0, said.err
    assert said.json[3]["variables"] == {"name": "Wang 許"}


def test_a_reader_that_goes_away_is_no_fault(recall: Cli) -> None:
    process = recall.start("dnc", "list", "--json")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


def test_the_doctor_names_clocks_that_are_wrong_and_results_that_are_nobodys(recall: Cli) -> None:
    # Given a worker with a wrong clock, a result that was nobody's for two hours, and one for a minute
    with recall.store() as store, store.write() as connection:
        now = store.now(connection)
        process_rows.beat(connection, "far-away:7", "dial", now, 301.0)
        events.record(connection, now - 7200, "orphan_result", line="pathors", detail={"delivery": 1, "reports": 1})
        events.record(connection, now - 60, "orphan_result", line="knovvu", detail={"delivery": 2, "reports": 1})
        events.record(
            connection, now - 8 * 86_400, "orphan_result", line="nexbro", detail={"delivery": 3, "reports": 1}
        )
    # When
    said = {row["what"]: row for row in recall("doctor", "--json").json}
    # Then the one that needs a person is told of, and it is a warning
    assert said["worker clocks"]["result"] == said["orphan results"]["result"] == "look"
    assert "far-away is +301.0 s off" in said["worker clocks"]["said"]
    assert said["orphan results"]["said"].startswith("webhook deliveries on line pathors: 1 tell")
