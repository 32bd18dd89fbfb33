"""Why is it not dialling? Every answer, and the most important one first."""

import pytest

from campaign.domain.line import Line
from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.services import campaigns, do_not_call, retry_batches
from campaign.services.why import why
from campaign.storage import line_rows, process_rows
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_attempt, add_target, add_upload, running

PHONE = "+12025550{:03d}".format
LINES = {"sandbox": Line(name="sandbox", provider="sandbox", base_url="http://x", calls_per_second=5, max_in_flight=2)}


@pytest.fixture
def campaign(store: Store, clock: FakeClock) -> int:
    """A running campaign on a line that is configured, with a worker at work."""
    with store.write() as connection:
        process_rows.beat(connection, "host:1:1", "tick", clock.now())
        line_rows.insert_missing(connection, ["sandbox"])
    return running(store)


def first(store: Store) -> str:
    return why(store, "recall", lines=LINES)[0]


def health(store: Store, **values: object) -> None:
    with store.write() as connection:
        line_rows.write_health(connection, "sandbox", LineHealth(**values))  # type: ignore[arg-type]


def test_a_campaign_that_dials_says_so(store: Store, campaign: int) -> None:
    add_target(store, campaign, PHONE(1))
    assert why(store, "recall", lines=LINES) == ["1 target is due now, dialled at no more than 5 calls/s"]


def test_a_campaign_that_is_not_running_says_that_first(store: Store, campaign: int) -> None:
    add_target(store, campaign, PHONE(1))
    campaigns.pause(store, "recall", "the key was refused (401)")
    assert first(store) == "the campaign is paused: the key was refused (401); `campaign resume recall` goes on"
    campaigns.cancel(store, "recall")
    assert first(store).startswith("the campaign was canceled")


def test_a_campaign_without_numbers_asks_for_some(store: Store, campaign: int) -> None:
    assert first(store) == "the campaign has no numbers yet; `campaign upload recall FILE` adds some"


def test_an_upload_that_is_read_or_failed_is_named(store: Store, campaign: int) -> None:
    add_upload(store, campaign, state="reading")
    add_upload(store, campaign, state="failed", file_name="b.csv", why="it has no phone column")
    assert why(store, "recall", lines=LINES) == [
        "1 upload still being read; its numbers appear all at once when that is done",
        "the upload 'b.csv' could not be read: it has no phone column",
    ]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"state": LineState.BROKEN, "why": "5 failures in a row", "not_before": 1_795_000_060.0},
         "line 'sandbox' is broken: 5 failures in a row; one probe call goes out in 1m"),
        ({"state": LineState.PROBING, "not_before": 1_795_000_060.0}, "line 'sandbox' is being probed with one call"),
        ({"state": LineState.SILENT, "why": "throttled", "not_before": 1_795_000_060.0},
         "line 'sandbox' is silent until 2026-11-18T11:07:40Z: throttled"),
        ({"state": LineState.SLOWED, "why": "recovering", "pace_factor": 0.25},
         "line 'sandbox' goes at 25% of its pace and recovers: recovering"),
    ],
)  # fmt: skip
def test_a_line_in_trouble_is_named(store: Store, campaign: int, values: dict[str, object], says: str) -> None:
    add_target(store, campaign, PHONE(1))
    health(store, **values)
    assert first(store) == says


def test_a_line_that_is_not_configured_is_named(store: Store, campaign: int) -> None:
    add_target(store, campaign, PHONE(1))
    assert why(store, "recall", lines={})[0].startswith("line 'sandbox' is not configured here")


def test_missing_workers_are_missed(store: Store, clock: FakeClock, campaign: int) -> None:
    add_target(store, campaign, PHONE(1))
    clock.advance(90)
    assert first(store) == "no worker has been seen for 1m30s; are worker and beat running, and is the broker up?"


def test_workers_that_do_not_dial_because_their_clock_is_wrong_are_named(
    store: Store, clock: FakeClock, campaign: int
) -> None:
    add_target(store, campaign, PHONE(1))
    # Given one machine whose clock is right to within two seconds, and one that is five minutes behind
    with store.write() as connection:
        process_rows.beat(connection, "right:1", "dial", clock.now(), 1.9)
        process_rows.beat(connection, "wrong:1", "dial", clock.now(), -300.04)
        process_rows.beat(connection, "wrong:2", "dial", clock.now(), -300.04)
    # Then the one is named, once
    behind = "the workers on wrong do not dial: its clock is -300.0 s off the database's; set it by NTP"
    assert [said for said in why(store, "recall", lines=LINES) if "clock" in said] == [behind]
    assert first(store) == behind
    # And no longer when it has been set right
    with store.write() as connection:
        process_rows.beat(connection, "wrong:1", "dial", clock.now(), 0.0)
        process_rows.beat(connection, "wrong:2", "dial", clock.now(), 0.0)
    assert "clock" not in first(store)


def test_a_store_that_no_worker_ever_opened_says_how_to_start_one(store: Store) -> None:
    add_target(store, running(store), PHONE(1))
    assert "no worker has been seen yet" in first(store)


def test_full_lines_and_campaigns_are_named(store: Store, campaign: int) -> None:
    campaigns.set_values(store, "recall", {"max_in_flight": "2"})
    for number in (1, 2):
        add_attempt(store, add_target(store, campaign, PHONE(number), "calling"), "placed")
    add_target(store, campaign, PHONE(3))
    assert why(store, "recall", lines=LINES)[:2] == [
        "line 'sandbox' has 2 of 2 calls in flight; the next goes when one ends",
        "the campaign has 2 of its 2 calls in flight; the next goes when one ends",
    ]


def test_waiting_targets_are_grouped_by_reason(store: Store, clock: FakeClock, campaign: int) -> None:
    for number in range(3):
        add_target(store, campaign, PHONE(number), due_at=clock.now() + 7200, reason="outside calling hours")
    add_target(store, campaign, PHONE(9), due_at=clock.now() + 900, reason="retry 1 of 3 after no_answer")
    assert why(store, "recall", lines=LINES) == [
        "nothing is due until 2026-11-18T11:21:40Z (in 15m)",
        "3 targets are waiting: outside calling hours; the first from 2026-11-18T13:06:40Z",
        "1 target is waiting: retry 1 of 3 after no_answer; the first from 2026-11-18T11:21:40Z",
    ]


def test_what_is_held_unconfirmed_or_planned_is_told_last(store: Store, clock: FakeClock, campaign: int) -> None:
    add_target(store, campaign, PHONE(1), "held")
    add_attempt(store, add_target(store, campaign, PHONE(2), "calling"), "unconfirmed")
    retry_batches.plan_batch(store, "recall", ["busy"], at=clock.now() + 60)
    assert why(store, "recall", lines=LINES) == [
        "1 target is being called",
        "1 target is held for a person to decide: `campaign settle recall`",
        "1 call may have been placed; the provider is being asked",
        "the next retry batch fires at 2026-11-18T11:07:40Z (in 1m)",
    ]


def test_what_no_provider_can_be_asked_for_is_not_said_to_be(store: Store, campaign: int) -> None:
    add_attempt(store, add_target(store, campaign, PHONE(1), "calling"), "unconfirmed")
    deaf = {"sandbox": LINES["sandbox"].model_copy(update={"provider": "knovvu"})}
    assert why(store, "recall", lines=deaf)[-1] == (
        "1 call may have been placed; the provider cannot tell, so the end is unknown: "
        "`campaign settle recall --unconfirmed` says when"
    )


def test_a_completed_campaign_says_so(store: Store, campaign: int) -> None:
    add_target(store, campaign, PHONE(1), "done")
    assert first(store).startswith("every target is done, skipped or held")
    campaigns.complete_finished(store)
    assert first(store) == "the campaign has completed; more numbers or a retry batch wake it"


def test_a_number_that_waits_says_for_what(store: Store, clock: FakeClock, campaign: int) -> None:
    target = add_target(
        store, campaign, PHONE(1), due_at=clock.now() + 900, reason="retry 1 of 2 after busy", attempts=1
    )
    add_attempt(
        store,
        target,
        "ended",
        disposition="busy",
        counted=True,
        sent_at=clock.now() - 60,
        raw="486",
        reason="user busy",
    )
    assert why(store, "recall", PHONE(1), LINES) == [
        "it waits until 2026-11-18T11:21:40Z (in 15m): retry 1 of 2 after busy",
        "attempt 1: sent 2026-11-18T11:05:40Z through line 'sandbox', ended busy, the provider said '486', user busy",
    ]


def test_a_number_that_is_due_says_what_stands_in_its_way(store: Store, clock: FakeClock, campaign: int) -> None:
    add_target(store, campaign, PHONE(1), due_at=clock.now() - 60)
    elsewhere = add_target(store, running(store, "other"), PHONE(1), "calling")
    add_attempt(store, elsewhere, "placed")
    campaigns.pause(store, "recall")
    assert why(store, "recall", PHONE(1), LINES) == [
        "it is due since 2026-11-18T11:05:40Z",
        "a call to it is live in campaign 'other', through line 'sandbox'",
        "the campaign is paused: by a person; `campaign resume recall` goes on",
    ]


def test_a_listed_number_says_since_when(store: Store, campaign: int) -> None:
    add_target(store, campaign, PHONE(1))
    do_not_call.add(store, [PHONE(1)], "asked by letter")
    assert why(store, "recall", PHONE(1), LINES) == [
        "it will not be called: do not call",
        "it is on the do-not-call list since 2026-11-18T11:06:40Z (asked by letter)",
    ]


def test_a_number_in_doubt_says_when_somebody_looks_again(store: Store, clock: FakeClock, campaign: int) -> None:
    target = add_target(store, campaign, PHONE(1), "calling", reason="unconfirmed")
    add_attempt(
        store, target, "unconfirmed", sent_at=clock.now(), next_look_at=clock.now() + 60, give_up_at=clock.now() + 3600
    )
    assert why(store, "recall", PHONE(1), LINES)[1] == (
        "attempt 1: sent 2026-11-18T11:06:40Z through line 'sandbox', unconfirmed; the next look is at "
        "2026-11-18T11:07:40Z; it ends unknown at 2026-11-18T12:06:40Z"
    )


def test_a_number_that_is_not_in_the_campaign_says_where_to_look(store: Store, campaign: int) -> None:
    assert "not in this campaign" in why(store, "recall", PHONE(1), LINES)[0]
