"""What a person sees of a database that forgot, and what they say to it."""

from sqlalchemy import select, update

from campaign.services.restoring import Memory, review
from campaign.storage.schema import dispatch, targets
from tests.cli.conftest import Cli


def locked(recall: Cli) -> None:
    """A started campaign on a database that is older than what somebody remembers."""
    assert recall("start", "recall", "--yes").code == 0
    with recall.store() as store:
        review(store, Memory(), "a" * 32)
        with store.write() as connection:
            values = {"locked_at": 2e9, "lost_at": 2e9, "why": "the database does not know a call: an older backup"}
            connection.execute(update(dispatch).values(values))


def test_a_locked_dispatch_is_told_wherever_a_person_looks(recall: Cli) -> None:
    locked(recall)
    # Then doctor fails, and why and show say the same sentence with its remedy
    doctor = recall("doctor", "--json")
    assert doctor.code == 4
    said = next(row for row in doctor.json if row["what"] == "dispatch")
    assert said["result"] == "fault"
    assert "campaign db reconcile" in said["said"]
    assert recall("why", "recall", "--json").json["why"][0] == said["said"]
    assert recall("show", "recall", "--json").json["why"] == said["said"]


def test_reconcile_asks_first_and_says_what_is_forgotten(recall: Cli) -> None:
    locked(recall)
    # Given nobody at a terminal, Then it does nothing without --yes, and names what must be repeated
    refused = recall("db", "reconcile")
    assert refused.code == 2
    assert "do-not-call" in refused.err
    assert "3 numbers" in refused.err
    # When it is said, Then all are to be looked for
    done = recall("db", "reconcile", "--yes", "--json")
    assert (done.code, done.json["waiting"]) == (0, {"sandbox": 3})
    with recall.store() as store, store.read() as connection:
        assert None not in connection.execute(select(targets.c.unsure_since)).scalars().all()
    assert "the workers are seeing to it" in recall("why", "recall").out


def test_reconcile_of_a_database_that_is_well_needs_a_time(recall: Cli) -> None:
    refused = recall("db", "reconcile", "--yes")
    assert (refused.code, "--since" in refused.err) == (4, True)
    wrong = recall("db", "reconcile", "--since", "yesterday", "--yes")
    assert (wrong.code, "--since" in wrong.err) == (2, True)
    assert recall("db", "reconcile", "--since", "2026-01-01T00:00:00Z", "--yes").code == 0
