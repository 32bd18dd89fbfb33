"""Erasing people: what goes, what stays, what waits, and that nothing brings a number back."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select

from campaign.domain.calls import CallReport, Finding, FindingKind, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import ERASED, ErasureKey, is_erased
from campaign.domain.errors import UsageFault
from campaign.domain.failpoints import arm, disarm_all
from campaign.domain.verdicts import placed, unconfirmed
from campaign.intake.numbers import read_number
from campaign.intake.reading import Reading
from campaign.policies.events import Answered, Looked
from campaign.services import claiming, do_not_call, erasing, results, retry_batches, uploads, webhooks
from campaign.services.claiming import ClaimedCall
from campaign.services.why import why
from campaign.services.withdrawing import unwanted
from campaign.storage import attempt_rows, erasures
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, inbox, rejects, targets
from tests.clock import FakeClock
from tests.engine import LINE
from tests.services.dump import dump, lines_with, spellings
from tests.services.erasing_world import (
    KEY,
    OTHER,
    RULES,
    claimed,
    confirmed,
    deliver,
    ended,
    received,
    told,
    uploaded,
)
from tests.services.rows import add_attempt, add_target, add_upload, attempt, journal, running, target

ADA, BOB = "+14155550142", "+14155550143"
FILE = "phone,name,friend\n(415) 555-0142,Ada Lovelace,Bob\n+14155550143,Bob Bee,call 415-555-0142 too\n"
BAD_ROWS = "1 415 555 0142,Ada Lovelace,x,one too many\n12,Nobody,\n"


def begun(store: Store, name: str = "recall", content: str = FILE) -> None:
    running(store, name, line=LINE.name)
    uploaded(store, name, content)


def sent(store: Store) -> list[ClaimedCall]:
    return confirmed(store, claimed(store))


def rows(store: Store, table: Any) -> Sequence[Any]:
    with store.read() as connection:
        return connection.execute(select(table).order_by(table.c.id)).mappings().all()


def nothing_of_ada(store: Store) -> None:
    assert lines_with(store, *spellings(ADA), "Ada Lovelace") == []


# --- what goes and what stays ----------------------------------------------------------------------------------------


def test_everything_about_a_person_goes_and_every_figure_stays(store: Store) -> None:
    # Given two people, one of whom was called and stands in rejected rows, in a delivery and in the other's columns
    begun(store, content=FILE + BAD_ROWS)
    for call in sent(store):
        told(store, call.attempt_id, Answered(call.token, placed(f"call-{call.attempt_id}")))
        told(store, call.attempt_id, ended(Disposition.ANSWERED, talk_seconds=7, answered_at=1.0))
    deliver(store, {"id": "call-1", "end": "answered", "said": "I am Ada"}, {"id": "call-1", "to": ADA, "end": "busy"})
    do_not_call.add(store, [ADA], "by letter", KEY)
    figures, calls = results.summary(store, "recall"), rows(store, attempts)
    assert lines_with(store, *spellings(ADA)) != []
    # When she is erased
    done = erasing.erase(store, KEY, [ADA])
    # Then nothing tells of her, and of what came of the calls nothing is missing
    assert done == erasing.Asked(numbers=1, again=0, skipped=0, waiting=0)
    nothing_of_ada(store)
    assert "I am Ada" not in dump(store)
    assert results.summary(store, "recall") == figures
    kept = [{**call, "phone": None} for call in calls]
    assert [{**call, "phone": None} for call in rows(store, attempts)] == kept
    # And the others are as they were, but for her number
    bob = rows(store, targets)[1]
    assert bob["variables"] == {"name": "Bob Bee", "friend": "call [erased] too"}
    assert [row["cells"] for row in rows(store, rejects)] == [["", "", "", ""], ["12", "Nobody", ""]]
    assert journal(store)[-2:] == ["erase_asked", "erased"]


def test_what_stands_in_place_of_a_number_can_never_be_taken_for_one(store: Store) -> None:
    begun(store)
    erasing.erase(store, KEY, [ADA])
    name = rows(store, targets)[0]["phone"]
    assert is_erased(name)
    assert not any(sign.isdigit() for sign in name)
    assert not isinstance(read_number(name, "US"), str)
    assert name == KEY.digest(ADA) != OTHER.digest(ADA)
    out = io.StringIO()
    results.export(store, "recall", out)
    assert name in out.getvalue()
    assert KEY.secret not in repr(KEY) + dump(store)


def test_the_same_person_in_two_campaigns_gets_the_same_hash(store: Store) -> None:
    begun(store)
    begun(store, "other")
    assert erasing.erase(store, KEY, [ADA, ADA]).skipped == 2
    assert [row["phone"] for row in rows(store, targets)] == [KEY.digest(ADA), BOB] * 2


def test_whoever_is_erased_is_skipped_wherever_the_number_waits(store: Store) -> None:
    begun(store)
    erasing.ask(store, KEY, [ADA])
    assert next((row["state"], row["reason"]) for row in rows(store, targets)) == ("skipped", ERASED)
    assert [call.call.phone for call in claimed(store)] == [BOB]


def test_a_second_erasure_finds_what_came_back_by_hand(store: Store) -> None:
    begun(store)
    erasing.erase(store, KEY, [ADA])
    add_target(store, running(store, "by hand"), ADA, "done", variables={"name": "Ada Lovelace"})
    assert erasing.erase(store, KEY, [ADA]) == erasing.Asked(numbers=1, again=1, skipped=0, waiting=0)
    nothing_of_ada(store)


# --- open calls ------------------------------------------------------------------------------------------------------


def test_a_call_that_is_open_keeps_its_number_until_it_has_ended(store: Store, clock: FakeClock) -> None:
    # Given a call in the air
    begun(store)
    ada = sent(store)[0]
    # When its person is erased
    assert erasing.erase(store, KEY, [ADA]).waiting == 1
    # Then the number stays while the provider must be asked about it
    assert attempt(store, ada.attempt_id)["phone"] == ADA
    told(store, ada.attempt_id, Answered(ada.token, unconfirmed("the answer was lost")))
    erasing.work_off(store)
    standing = erasing.standing(store, KEY)
    assert (standing.waiting, standing.calls) == (1, 1)
    doubt = attempt(store, ada.attempt_id)
    told(store, ada.attempt_id, Looked(doubt["token"], Finding(FindingKind.FOUND, clock.now(), call_id="call-1")))
    clock.advance(60)
    erasing.work_off(store)
    assert attempt(store, ada.attempt_id)["phone"] == ADA
    # And goes with its end, however the retry rule would have gone on
    told(store, ada.attempt_id, ended())
    clock.advance(60)
    erasing.work_off(store)
    assert erasing.standing(store, KEY).waiting == 0
    nothing_of_ada(store)
    one = target(store, attempt(store, ada.attempt_id)["target_id"])
    assert (one["state"], one["reason"], one["disposition"]) == ("skipped", ERASED, "no_answer")


@pytest.mark.parametrize("again", [Disposition.NO_ANSWER, Disposition.ANSWERED])
def test_a_result_that_comes_late_finds_its_attempt_and_brings_nothing_back(
    store: Store, clock: FakeClock, again: Disposition
) -> None:
    # Given a call that nobody could tell the end of, and its person erased
    begun(store)
    ada = sent(store)[0]
    told(store, ada.attempt_id, Answered(ada.token, placed("call-1")))
    told(store, ada.attempt_id, ended(Disposition.UNKNOWN))
    erasing.erase(store, KEY, [ADA])
    nothing_of_ada(store)
    # When the truth comes after all, twice, with the number in it
    for said in ("first", "second"):
        deliver(store, {"id": "call-1", "end": again, "to": ADA, "said": said})
    deliver(store, {"id": "call-1", "end": again, "said": "this is Ada Lovelace"})  # without the number
    # Then it is the attempt's, and not one word of it is kept
    assert attempt(store, ada.attempt_id)["disposition"] == again
    assert [(row["body"], row["due_at"]) for row in rows(store, inbox)] == [(b"", None)] * 3
    nothing_of_ada(store)
    assert ADA not in [call.call.phone for call in claimed(store)]


def test_a_delivery_that_is_nobodys_is_forgotten_by_its_number(store: Store, clock: FakeClock) -> None:
    erasing.erase(store, KEY, [ADA])
    deliver(store, {"end": "busy", "to": ADA}, {"end": "busy", "to": BOB})
    for _ in range(webhooks.TRIES):
        clock.advance(600)
        deliver(store)
    bodies = [row["body"] for row in rows(store, inbox)]
    assert bodies[0] == b""
    assert BOB.encode() in bodies[1]


def test_a_delivery_that_nobody_has_handled_is_waited_for(store: Store, clock: FakeClock) -> None:
    # Given a result on its way through the inbox when its person is erased
    begun(store)
    ada = sent(store)[0]
    told(store, ada.attempt_id, Answered(ada.token, placed("call-1")))
    told(store, ada.attempt_id, ended(Disposition.UNKNOWN))
    received(store, {"id": "call-1", "end": "answered", "to": ADA})
    # When erasing comes to it
    assert erasing.erase(store, KEY, [ADA]).waiting == 1
    # Then the result is not lost
    deliver(store)
    assert attempt(store, ada.attempt_id)["disposition"] == "answered"
    clock.advance(10)
    erasing.work_off(store)
    assert erasing.standing(store, KEY).waiting == 0
    nothing_of_ada(store)


def test_a_delivery_on_a_line_that_is_gone_does_not_hold_up_an_erasure_for_ever(store: Store, clock: FakeClock) -> None:
    received(store, {"id": "call-1", "end": "answered", "to": ADA})
    assert erasing.erase(store, KEY, [ADA]).waiting == 1
    clock.advance(erasing.DELIVERY_WAITS + 1)
    erasing.work_off(store)
    nothing_of_ada(store)


def test_a_call_that_its_provider_still_holds_back_is_asked_back(store: Store) -> None:
    begun(store)
    ada = sent(store)[0]
    told(store, ada.attempt_id, Answered(ada.token, placed("call-1")))
    held = RememberedCall(ada.attempt_id, ada.call.our_ref, ADA, "call-1", 0.0)
    queued = [(held, CallReport(ReportStatus.PENDING, ada.attempt_id, rang=False))]
    assert unwanted(store, queued, 0.0) == set()
    erasing.erase(store, KEY, [ADA])
    assert unwanted(store, queued, 0.0) == {ada.attempt_id}


def test_the_number_of_an_erased_person_is_no_canary(store: Store) -> None:
    begun(store)
    for call in sent(store):
        told(store, call.attempt_id, Answered(call.token, placed(f"call-{call.attempt_id}")))
        told(store, call.attempt_id, ended(Disposition.ANSWERED))
    erasing.erase(store, KEY, [BOB])
    with store.read() as connection:
        canary = attempt_rows.canary(connection, LINE.name, store.now(connection) + 1)
    assert canary is not None
    assert canary.phone == ADA


# --- nothing brings a number back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["recall", "other"])
def test_an_upload_does_not_bring_a_person_back(store: Store, name: str) -> None:
    # Given an erased person
    begun(store)
    running(store, "other", line=LINE.name)
    erasing.erase(store, KEY, [ADA])
    # When a file with her number comes again, once good and once rejected
    progress = uploaded(store, name, FILE.replace("Bob", "Bobby") + BAD_ROWS)
    # Then her row is counted, and there is nothing in it
    again = name == "recall"
    assert (progress.accepted, progress.duplicates, progress.rejected) == ((0, 2, 2) if again else (2, 0, 2))
    assert lines_with(store, "Ada Lovelace", "4155550142", "(415) 555-0142", "1 415 555 0142") == []
    mine = [row for row in rows(store, targets) if is_erased(row["phone"])]
    assert {(row["state"], row["reason"], str(row["variables"])) for row in mine} == {("skipped", ERASED, "{}")}
    assert {call.call.phone for call in claimed(store)} == {BOB}


def test_an_upload_under_way_is_waited_for(store: Store, clock: FakeClock) -> None:
    # Given a file that has arrived, and not been read yet
    campaign_id = running(store, line=LINE.name)
    upload = uploads.receive(store, campaign_id, io.BytesIO(FILE.encode()), "list.csv", Reading(region="US"))
    # When one of its people is erased while its first half is staged already
    halfway: list[int] = []

    def in_between(_progress: uploads.Progress) -> None:
        halfway.append(erasing.erase(store, KEY, [ADA]).waiting if not halfway else 0)

    uploads.read_upload(store, upload.id, batch=1, on_progress=in_between, key=KEY)
    # Then the erasure is not over before the whole file is read
    assert halfway[0] == 1
    clock.advance(60)
    erasing.work_off(store)
    assert erasing.standing(store, KEY).waiting == 0
    assert [line for line in lines_with(store, "Ada Lovelace", "4155550142", "(415) 555-0142")] == []


def test_a_file_that_comes_again_while_the_call_is_open_leaves_two_rows_apart(store: Store, clock: FakeClock) -> None:
    begun(store)
    ada = sent(store)[0]
    erasing.erase(store, KEY, [ADA])
    uploaded(store, "recall", FILE.replace("Bob", "Bobby"))
    told(store, ada.attempt_id, Answered(ada.token, placed("call-1")))
    told(store, ada.attempt_id, ended(Disposition.ANSWERED))
    clock.advance(60)
    erasing.work_off(store)
    nothing_of_ada(store)
    names = [row["phone"] for row in rows(store, targets) if is_erased(row["phone"])]
    assert len(set(names)) == 2
    assert {name[:71] for name in names} == {KEY.digest(ADA)}


def test_the_do_not_call_list_does_not_write_the_number_down_again(store: Store) -> None:
    do_not_call.add(store, [ADA])
    erasing.erase(store, KEY, [ADA])
    assert do_not_call.add(store, [ADA, BOB], "", KEY) == do_not_call.Added(added=1, known=1, skipped=0)
    nothing_of_ada(store)


def test_a_retry_batch_passes_over_whoever_was_erased(store: Store) -> None:
    running(store)
    add_target(store, 1, ADA, "done", disposition="busy")
    erasing.erase(store, KEY, [ADA])
    retry_batches.plan_batch(store, "recall", ["busy"])
    assert [fire.targets for fire in retry_batches.fire_due(store)] == [0]


def test_a_settled_row_of_an_erased_person_is_not_called(store: Store) -> None:
    campaign = running(store, line=LINE.name)
    one = add_target(store, campaign, KEY.digest(ADA), due_at=0.0)
    assert claimed(store) == []
    assert (target(store, one)["state"], target(store, one)["reason"]) == ("skipped", ERASED)


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, OTHER])
def test_without_the_key_nothing_is_dialled_read_or_listed(store: Store, key: ErasureKey | None) -> None:
    # Given erased people, and a process that cannot tell them
    begun(store)
    calls = claimed(store)
    add_target(store, running(store, "new", line=LINE.name), "+14155550144")
    erasing.erase(store, KEY, [ADA])
    # Then it claims nothing, sends nothing that it had claimed
    assert claimed(store, key) == []
    with pytest.raises(UsageFault, match="CAMPAIGN_ERASURE_KEY"):
        claiming.confirm(store, LINE, calls, 10.0, RULES, key=key)
    assert {row["state"] for row in rows(store, attempts)} == {"claimed"}
    # And reads no upload and lists no number
    progress = uploaded(store, "new", FILE, key)
    assert progress.state == "failed"
    assert "CAMPAIGN_ERASURE_KEY" in str(progress.why)
    with pytest.raises(UsageFault, match="CAMPAIGN_ERASURE_KEY"):
        do_not_call.add(store, [ADA], "", key)
    # And a person can see why
    assert any("has not their key" in sentence for sentence in why(store, "recall"))
    assert "CAMPAIGN_ERASURE_KEY" in str(erasing.standing(store, key).key)
    assert erasing.standing(store, KEY).key is None
    # While one that has the key goes on
    assert erasing.standing(store, KEY).missed_at is not None
    assert [call.call.phone for call in claiming.confirm(store, LINE, calls, 10.0, RULES, key=KEY)] == [BOB]


def test_all_numbers_are_erased_with_one_key(store: Store) -> None:
    erasing.erase(store, KEY, [ADA])
    with pytest.raises(UsageFault, match="another erasure key"):
        erasing.erase(store, OTHER, [BOB])
    assert erasing.standing(store, KEY).numbers == 1


def test_why_knows_an_erased_number_with_the_key_only(store: Store) -> None:
    begun(store)
    erasing.erase(store, KEY, [ADA])
    told = why(store, "recall", ADA, key=KEY)
    assert told[0] == f"it will not be called: {ERASED}"
    assert "erased on request of" in told[1]
    assert "not in this campaign" in why(store, "recall", ADA)[0]


def test_where_nobody_was_erased_a_claim_asks_one_question_more_and_hashes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(store)
    asked = 0
    look = erasures.fingerprint

    def counting(connection: Any) -> str | None:
        nonlocal asked
        asked += 1
        return look(connection)

    monkeypatch.setattr(erasures, "fingerprint", counting)
    monkeypatch.setattr(ErasureKey, "digest", lambda *_: pytest.fail("hashed"))
    calls = claimed(store)
    assert len(claiming.confirm(store, LINE, calls, 10.0, RULES, key=KEY)) == 2
    assert asked == 2  # a claim and a confirm


# --- dying in between ------------------------------------------------------------------------------------------------


class Died(RuntimeError):
    """As a kill would have it."""


@pytest.mark.parametrize("place", ["erase.before_commit", "erase.after_commit"])
def test_a_death_anywhere_leaves_work_that_the_next_one_ends(store: Store, clock: FakeClock, place: str) -> None:
    begun(store, content=FILE + BAD_ROWS)
    passed = 0

    def die() -> None:
        nonlocal passed
        passed += 1
        if passed % 2:
            raise Died

    arm(place, die)
    try:
        for _ in range(20):
            clock.advance(10)
            try:
                erasing.erase(store, KEY, [ADA]) if passed == 0 else erasing.work_off(store)
            except Died:
                continue
    finally:
        disarm_all()
    assert passed >= 5
    assert erasing.standing(store, KEY).waiting == 0
    nothing_of_ada(store)


def test_many_people_at_once_and_long_tables(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given tables that take many pages, and more people than one transaction takes
    monkeypatch.setattr(erasing, "PAGE", 7)
    monkeypatch.setattr(erasing, "MOST", 10)
    campaign = running(store)
    people = [f"+1415555{i:04d}" for i in range(1000, 1025)]
    for i, phone in enumerate(people):
        one = add_target(store, campaign, phone, "done", variables={"next": people[(i + 1) % len(people)]})
        add_attempt(store, one, "ended", reason=f"said {phone}", call_id=f"{phone[1:]}-{i}-x")
        add_reject(store, [phone, "a name"])
    # When all but two are erased
    assert erasing.erase(store, KEY, people[:23]).waiting == 0
    # Then they are, and the two are there
    text = dump(store)
    assert [phone for phone in people if phone[2:] in text] == people[23:]


def add_reject(store: Store, cells: list[str]) -> None:
    upload = add_upload(store, 1)
    row = {"upload_id": upload, "line_no": 2, "field": "row", "reason": "r", "remedy": "m", "cells": cells}
    with store.write() as connection:
        connection.execute(insert(rejects).values(row))
