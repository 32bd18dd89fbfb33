import pytest
from sqlalchemy import func, insert, select

from campaign.domain.states import TargetState, UploadState
from campaign.storage import uploads
from campaign.storage.engine import Store
from campaign.storage.schema import campaigns, metadata, staged_targets, targets, upload_chunks
from tests.clock import FakeClock

FRESH = {"state": TargetState.WAITING, "due_at": 5.0, "reason": "new", "tally": {}}


@pytest.fixture
def campaign_id(store: Store) -> int:
    with store.write() as connection:
        values = {"name": "recall", "line": "sandbox", "plan": {}, "created_at": 0.0}
        return int(connection.execute(insert(campaigns).values(values).returning(campaigns.c.id)).scalar_one())


def received(store: Store, campaign_id: int, sha256: str = "a" * 64) -> int:
    with store.write() as connection:
        now = store.now(connection)
        values = {"campaign_id": campaign_id, "sha256": sha256, "file_name": "x.csv", "reading": {}}
        upload_id = uploads.begin(connection, {**values, "received_at": now, "lease_until": now + 60})
        assert upload_id is not None
        uploads.add_chunks(connection, upload_id, 0, [b"one", b"two"])
        kept = uploads.keep(connection, upload_id, 1, UploadState.RECEIVING, state=UploadState.RECEIVED, bytes=6)
        assert kept
    return upload_id


def row(upload_id: int, number: int, phone: str) -> dict[str, object]:
    variables = {"Name": f"Zoë\t{number}\\N\n"}
    return {"upload_id": upload_id, "phone": phone, "row_no": number, "phone_as_given": "\\.", "variables": variables}


def claimed(store: Store, lease: float = 60.0) -> uploads.Hold | None:
    with store.write() as connection:
        now = store.now(connection)
        return uploads.claim(connection, now, now + lease)


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(metadata.tables[str(table)])).scalar_one()


def test_the_same_bytes_begin_once_per_campaign(store: Store, campaign_id: int) -> None:
    received(store, campaign_id)
    values = {"campaign_id": campaign_id, "sha256": "a" * 64, "file_name": "y.csv", "reading": {}, "received_at": 0.0}
    with store.write() as connection:
        assert uploads.begin(connection, values) is None
        assert uploads.begin(connection, {**values, "sha256": "b" * 64}) is not None


def test_one_claims_and_the_second_finds_nothing(store: Store, campaign_id: int) -> None:
    upload_id = received(store, campaign_id)
    first = claimed(store)
    assert first is not None
    assert first.id == upload_id
    assert claimed(store) is None


def test_the_oldest_is_claimed_first(store: Store, campaign_id: int, clock: FakeClock) -> None:
    older = received(store, campaign_id)
    clock.advance(1)
    received(store, campaign_id, "b" * 64)
    hold = claimed(store)
    assert hold is not None
    assert hold.id == older


def test_after_its_lease_an_upload_changes_hands_and_the_old_hand_can_do_nothing(
    store: Store, campaign_id: int, clock: FakeClock
) -> None:
    # Given a worker that staged a row and fell asleep
    received(store, campaign_id)
    old = claimed(store)
    assert old is not None
    with store.write() as connection:
        assert uploads.stage(connection, [row(old.id, 2, "+14155550100")]) == 1
    # When its lease has run out and another one takes the upload
    clock.advance(61)
    with store.read() as connection:
        assert uploads.waiting(connection, clock.now()) == [(old.id, "recall")]
    new = claimed(store)
    # Then what was staged is gone and only the new token holds
    assert new is not None
    assert new.token > old.token
    assert count(store, staged_targets) == 0
    with store.write() as connection:
        assert not uploads.keep(connection, old.id, old.token, UploadState.READING, rows_read=1)
        assert uploads.keep(connection, new.id, new.token, UploadState.READING, rows_read=1)


def test_staging_counts_what_is_new_and_keeps_the_first_of_two(store: Store, campaign_id: int) -> None:
    received(store, campaign_id)
    hold = claimed(store)
    assert hold is not None
    with store.write() as connection:
        rows = [row(hold.id, 2, "+14155550100"), row(hold.id, 3, "+14155550100"), row(hold.id, 4, "+14155550101")]
        assert uploads.stage(connection, rows) == 2
        assert uploads.stage(connection, [row(hold.id, 5, "+14155550101")]) == 0
        assert uploads.stage(connection, []) == 0
    with store.read() as connection:
        staged = connection.execute(select(staged_targets).order_by(staged_targets.c.row_no)).mappings().all()
    assert [(one["row_no"], one["phone"]) for one in staged] == [(2, "+14155550100"), (4, "+14155550101")]
    assert staged[0]["variables"] == {"Name": "Zoë\t2\\N\n"}
    assert staged[0]["phone_as_given"] == "\\."


def test_publishing_adds_what_the_campaign_does_not_have_in_the_order_of_the_file(
    store: Store, campaign_id: int
) -> None:
    received(store, campaign_id)
    hold = claimed(store)
    assert hold is not None
    with store.write() as connection:
        known = {"campaign_id": campaign_id, "phone": "+14155550100", "variables": {}, "tally": {}}
        connection.execute(insert(targets).values(known))
        uploads.stage(connection, [row(hold.id, 9, "+14155550101"), row(hold.id, 2, "+14155550102")])
        uploads.stage(connection, [row(hold.id, 10, "+14155550100")])
        assert uploads.publish(connection, hold, FRESH) == (2, 2)
    with store.read() as connection:
        made = connection.execute(select(targets).order_by(targets.c.id)).mappings().all()[1:]
    assert [(one["row_no"], one["phone"]) for one in made] == [(2, "+14155550102"), (9, "+14155550101")]
    assert [(one["state"], one["due_at"], one["attempts"], one["tally"]) for one in made] == [
        ("waiting", 5.0, 0, {})
    ] * 2
    assert (count(store, staged_targets), count(store, upload_chunks)) == (0, 0)


def test_a_sender_that_went_silent_is_given_up_and_its_bytes_are_forgotten(
    store: Store, campaign_id: int, clock: FakeClock
) -> None:
    with store.write() as connection:
        now = store.now(connection)
        values = {"campaign_id": campaign_id, "sha256": "c" * 64, "file_name": "x.csv", "reading": {}}
        upload_id = uploads.begin(connection, {**values, "received_at": now, "lease_until": now + 60})
        assert upload_id is not None
        uploads.add_chunks(connection, upload_id, 0, [b"half"])
    assert claimed(store) is None
    clock.advance(61)
    with store.write() as connection:
        assert uploads.waiting(connection, clock.now()) == [(upload_id, "recall")]
        assert uploads.give_up_receiving(connection, clock.now(), "interrupted") == 1
        assert not uploads.keep(connection, upload_id, 1, UploadState.RECEIVING, bytes=1)
        assert uploads.waiting(connection, clock.now()) == []
    assert count(store, upload_chunks) == 0


def test_rejects_are_seen_when_their_upload_is_and_stream_in_order(store: Store, campaign_id: int) -> None:
    received(store, campaign_id)
    hold = claimed(store)
    assert hold is not None
    with store.write() as connection:
        same = {"upload_id": hold.id, "field": "f", "reason": "r", "remedy": "m", "cells": ["\0"]}
        lines = [{**same, "line_no": 3000 - i} for i in range(2500)]
        uploads.reject(connection, lines)
    with store.read() as connection:
        assert list(uploads.rejected_rows(connection, campaign_id)) == []
    with store.write() as connection:
        uploads.keep(connection, hold.id, hold.token, UploadState.READING, state=UploadState.VISIBLE, rejected=2500)
    with store.read() as connection:
        assert [one["id"] for one in uploads.with_rejects(connection, campaign_id)] == [hold.id]
        seen = list(uploads.rejected_rows(connection, campaign_id))
    assert [one["line_no"] for one in seen] == list(range(501, 3001))
    assert seen[0]["cells"] == ["\0"]
