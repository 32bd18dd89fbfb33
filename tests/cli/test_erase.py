"""``campaign erase``: it asks, it says what it did and what is open, and without a key it refuses."""

import stat

import pytest

from tests.cli.conftest import Cli
from tests.services.dump import dump, lines_with

ADA = "+14155550100"
FILE = "phone,name\n(415) 555-0100,Ada\n+14155550101,Bo\n12,too short\n"
KEY = {"CAMPAIGN_ERASURE_KEY": "a key that nobody can guess"}
SERVERS = {"CAMPAIGN_BROKER_URL": "redis://127.0.0.1:1/0"}


def test_a_person_is_erased_and_the_figures_stay(recall: Cli) -> None:
    before = recall.inside("show", "recall", "--json").json
    said = recall("erase", ADA, "--yes", "--json")
    assert said.code == 0, said.err
    assert said.json == {"numbers": 1, "erased": 1, "open": 0, "again": 0, "skipped": 1, "rejected": 0}
    with recall.store() as store:
        assert lines_with(store, "4155550100", "Ada") == []
    after = recall.inside("show", "recall", "--json").json
    assert after["rows"] == before["rows"]
    assert after["targets"] == before["targets"] | {"waiting": 2, "skipped": 1}
    # And what it printed has no number in it, since a terminal is logged
    assert "415" not in said.err


def test_it_makes_a_key_that_only_its_owner_can_read(recall: Cli) -> None:
    assert recall.inside("erase", ADA, "--yes").code == 0
    key = recall.home / "erasure.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_text()) >= 32
    assert recall.inside("erase", "+14155550101", "--yes").code == 0  # with the same one
    with recall.store() as store:
        assert key.read_text() not in dump(store)


def test_nothing_happens_before_a_person_has_said_yes(recall: Cli) -> None:
    said = recall.inside("erase", ADA)
    assert (said.code, said.out) == (2, "")
    assert "say --yes" in said.err
    with recall.store() as store:
        assert lines_with(store, "4155550100") != []


def test_every_number_that_cannot_be_read_is_told_and_none_is_erased(recall: Cli) -> None:
    said = recall.inside("erase", "nobody", ADA, "0551", "--yes")
    assert said.code == 2
    assert "number 1 of 3 " in said.err
    assert "number 3 of 3 " in said.err
    assert "0551" not in said.err
    assert recall.inside("erase", "--yes").code == 2
    with recall.store() as store:
        assert lines_with(store, "4155550100") != []


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 3)])
def test_a_file_is_read_as_an_upload_is(recall: Cli, strict: tuple[str, ...], code: int) -> None:
    recall.write("forget.csv", FILE)
    said = recall.inside("erase", "--file", "forget.csv", "--region", "US", "--yes", "--json", *strict)
    assert said.code == code
    assert said.json == {"numbers": 2, "erased": 2, "open": 0, "again": 0, "skipped": 2, "rejected": 1}
    assert "line 4: " in said.err
    with recall.store() as store:
        assert lines_with(store, "4155550100", "4155550101") == []


def test_the_same_file_brings_nobody_back(recall: Cli) -> None:
    assert recall.inside("erase", ADA, "--yes").code == 0
    recall.write("again.csv", FILE)
    assert recall.inside("create", "other", "--line", "sandbox").code == 0
    said = recall.inside("upload", "other", "again.csv", "--region", "US", "--json")
    assert said.code == 0, said.err
    assert recall.inside("show", "other", "--json").json["targets"] | {"total": 2} == {
        "total": 2, "waiting": 1, "calling": 0, "held": 0, "done": 0, "skipped": 1,
    }  # fmt: skip
    assert recall.inside("dnc", "add", ADA, "--json").json == {"added": 0, "known": 1, "skipped": 0, "rejected": 0}
    with recall.store() as store:
        assert lines_with(store, "4155550100", "Ada") == []


def test_a_fleet_needs_a_key_that_every_process_is_given(recall: Cli) -> None:
    recall.environ |= SERVERS
    said = recall.inside("erase", ADA, "--yes")
    assert said.code == 2
    assert "CAMPAIGN_ERASURE_KEY is not set" in said.err
    assert not (recall.home / "erasure.key").exists()
    recall.environ |= KEY
    assert recall.inside("erase", ADA, "--yes").code == 0
    # And another one is noticed, wherever it is used
    recall.environ["CAMPAIGN_ERASURE_KEY"] = "a key that somebody made up"
    said = recall.inside("erase", "+14155550101", "--yes")
    assert said.code == 2
    assert "another erasure key" in said.err
    said = recall.inside("doctor")
    assert "another erasure key" in said.out
    assert "made up" not in said.out + said.err


@pytest.mark.parametrize("key", ["short", "env:NOWHERE", "file:nowhere"])
def test_a_key_that_is_none_is_refused_by_name(recall: Cli, key: str) -> None:
    recall.environ["CAMPAIGN_ERASURE_KEY"] = key
    said = recall.inside("erase", ADA, "--yes")
    assert said.code == 2
    assert "CAMPAIGN_ERASURE_KEY" in said.err


def test_what_is_erased_and_what_is_open_can_be_looked_at(recall: Cli) -> None:
    assert recall.inside("erase", "--status", "--json").json["erased"] == 0
    assert "erasure" not in recall.inside("doctor").out
    recall.inside("erase", ADA, "--yes")
    assert recall.inside("erase", "--status", "--json").json == {
        "erased": 1, "open": 0, "open_calls": 0, "unread_uploads": False, "key": "ok", "key_missed_at": None,
    }  # fmt: skip
    assert "1 number erased, 0 open" in recall.inside("doctor").out
    said = recall.inside("why", "recall", ADA).out
    assert said.startswith("it will not be called: erased on request")


@pytest.mark.slow
def test_a_whole_run_goes_past_who_was_erased(cli: Cli) -> None:
    # Given somebody who was erased before there was any campaign
    assert cli("erase", ADA, "--yes").code == 0
    # When a file with her number is dialled from beginning to end
    cli.write("list.csv", "phone,name\n+14155550100,Ada\n+14155550101,Bo\n+14155550102,Cy\n")
    said = cli("run", "list.csv", "--line", "sandbox", "--retry", "none", "--yes", "--json")
    # Then everybody else was called
    assert said.code == 0, said.err
    assert (said.json["targets"]["done"], said.json["targets"]["skipped"]) == (2, 1)
    with cli.store() as store:
        assert lines_with(store, "4155550100", "Ada") == []
