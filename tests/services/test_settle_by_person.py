"""A person decides what nobody could prove: held targets and unconfirmed attempts, in bulk."""

import pytest

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.errors import NotPossible, UsageFault
from campaign.domain.states import CampaignState
from campaign.policies.events import Reported
from campaign.services import campaigns
from campaign.services.recording import record
from campaign.services.settle_by_person import Settled, settle, to_settle
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_attempt, add_target, attempt, journal, running, target

PHONE = "+12025550{:03d}".format


def hold(store: Store, campaign: int, phone: str) -> tuple[int, int]:
    """A target held because its only attempt ended unknown, as the engine leaves it."""
    held = add_target(
        store,
        campaign,
        phone,
        "held",
        disposition="unknown",
        attempts=1,
        tally={"unknown": 1},
        reason="nobody can tell",
    )
    return held, add_attempt(store, held, "ended", disposition="unknown", counted=True, sent_at=5.0, token=4)


def doubt(store: Store, campaign: int, phone: str) -> tuple[int, int]:
    calling = add_target(store, campaign, phone, "calling")
    return calling, add_attempt(store, calling, "unconfirmed", sent_at=7.0, token=3, next_look_at=9.0, give_up_at=99.0)


def test_held_targets_become_done_as_the_person_says(store: Store, clock: FakeClock) -> None:
    campaign = running(store)
    pairs = [hold(store, campaign, PHONE(n)) for n in (1, 2)]
    spared = [add_target(store, campaign, PHONE(3)), hold(store, running(store, "other"), PHONE(4))[0]]
    assert settle(store, "recall", "no_answer") == Settled(held=2, unconfirmed=0)
    for held, asked in pairs:
        row = target(store, held)
        assert (row["state"], row["disposition"], row["attempts"]) == ("done", "no_answer", 1)
        assert (row["ended_at"], row["reason"]) == (clock.now(), "decided by a person")
        assert (attempt(store, asked)["disposition"], attempt(store, asked)["token"]) == ("no_answer", 5)
    assert [target(store, t)["state"] for t in spared] == ["waiting", "held"]
    assert journal(store)[-1] == "settled"


def test_a_completed_campaign_asks_for_no_decision_that_has_been_made(store: Store) -> None:
    # Given a completed campaign with two held numbers
    campaign = running(store)
    for n in (1, 2):
        hold(store, campaign, PHONE(n))
    campaigns.complete_finished(store)
    # When one is decided, then the campaign still says what the other one waits for; then nothing more
    said = []
    for phone in (PHONE(1), PHONE(2)):
        settle(store, "recall", "no_answer", [phone])
        said.append(campaigns.get(store, "recall").why)
    assert said == ["1 held, a person must decide: `campaign settle`", None]
    assert campaigns.get(store, "recall").state is CampaignState.COMPLETED


def test_not_placed_takes_the_attempt_back_and_the_number_waits(store: Store, clock: FakeClock) -> None:
    held, asked = hold(store, running(store), PHONE(1))
    campaigns.complete_finished(store)
    settle(store, "recall", "not_placed")
    row = target(store, held)
    assert (row["state"], row["due_at"], row["attempts"], row["disposition"]) == ("waiting", clock.now(), 0, None)
    assert row["first_attempt_at"] is None
    gone = attempt(store, asked)
    assert (gone["state"], gone["counted"], gone["disposition"]) == ("not_placed", False, None)
    assert campaigns.get(store, "recall").state is CampaignState.RUNNING


def test_retry_counts_the_attempt_and_the_number_waits(store: Store) -> None:
    held, asked = hold(store, running(store), PHONE(1))
    settle(store, "recall", "retry")
    row = target(store, held)
    assert (row["state"], row["attempts"], row["disposition"]) == ("waiting", 1, "unknown")
    assert (attempt(store, asked)["state"], attempt(store, asked)["disposition"]) == ("ended", "unknown")


@pytest.mark.parametrize("decision", ["retry", "not_placed"])
def test_a_true_result_that_comes_after_the_decision_stops_the_second_call(store: Store, decision: str) -> None:
    held, asked = hold(store, running(store), PHONE(1))
    settle(store, "recall", decision)
    answered = CallReport(ReportStatus.FINAL, asked, disposition=Disposition.ANSWERED)
    record(store, {}, [(asked, Reported(answered))])
    row = target(store, held)
    assert (row["state"], row["disposition"], row["attempts"]) == ("done", "answered", 1)


def test_a_target_held_for_conflicts_keeps_what_it_knows(store: Store) -> None:
    held = add_target(store, running(store), PHONE(1), "held", disposition="busy", attempts=1, conflicts=50, rescues=3)
    add_attempt(store, held, "ended", disposition="busy", counted=True, sent_at=5.0)
    add_attempt(store, held, "refused", verdict="conflict")
    settle(store, "recall", "not_placed")
    row = target(store, held)
    assert (row["state"], row["disposition"], row["attempts"]) == ("waiting", "busy", 1)
    assert (row["conflicts"], row["rescues"]) == (0, 0)


def test_only_the_numbers_named_are_decided(store: Store) -> None:
    campaign = running(store)
    first, second = hold(store, campaign, PHONE(1))[0], hold(store, campaign, PHONE(2))[0]
    assert settle(store, "recall", "busy", [PHONE(2), PHONE(9)]) == Settled(held=1, unconfirmed=0, untouched=1)
    assert [target(store, t)["state"] for t in (first, second)] == ["held", "done"]


def test_unconfirmed_attempts_are_decided_only_when_asked_for(store: Store) -> None:
    calling, asked = doubt(store, running(store), PHONE(1))
    assert settle(store, "recall", "no_answer") == Settled(held=0, unconfirmed=0)
    assert attempt(store, asked)["state"] == "unconfirmed"
    assert settle(store, "recall", "no_answer", unconfirmed=True) == Settled(held=0, unconfirmed=1)
    ended = attempt(store, asked)
    assert (ended["state"], ended["disposition"], ended["token"], ended["counted"]) == ("ended", "no_answer", 4, True)
    row = target(store, calling)
    assert (row["state"], row["attempt_id"], row["attempts"], row["first_attempt_at"]) == ("done", None, 1, 7.0)


@pytest.mark.parametrize(("decision", "state", "real"), [("retry", "ended", 1), ("not_placed", "not_placed", 0)])
def test_an_unconfirmed_attempt_may_be_tried_again(store: Store, decision: str, state: str, real: int) -> None:
    calling, asked = doubt(store, running(store), PHONE(1))
    settle(store, "recall", decision, unconfirmed=True)
    row = target(store, calling)
    assert (row["state"], row["attempts"], row["attempt_id"]) == ("waiting", real, None)
    assert (attempt(store, asked)["state"], attempt(store, asked)["next_look_at"]) == (state, None)


def test_what_there_is_to_decide_is_listed_with_what_is_known(store: Store) -> None:
    campaign = running(store)
    hold(store, campaign, PHONE(1))
    doubt(store, campaign, PHONE(2))
    doubts = to_settle(store, "recall")
    assert [(d.phone, d.state, d.sent_at, d.next_look_at) for d in doubts] == [
        (PHONE(1), "held", 5.0, None),
        (PHONE(2), "unconfirmed", 7.0, 9.0),
    ]
    assert PHONE(1) not in repr(doubts)


def test_a_canceled_campaign_tries_nothing_again(store: Store) -> None:
    held, _ = hold(store, running(store), PHONE(1))
    campaigns.cancel(store, "recall")
    with pytest.raises(NotPossible, match="settle its numbers as a disposition"):
        settle(store, "recall", "retry")
    assert settle(store, "recall", "unknown").held == 1
    assert target(store, held)["state"] == "done"


def test_a_word_that_is_no_decision_is_refused(store: Store) -> None:
    running(store)
    with pytest.raises(UsageFault, match="'done': not a decision; these are answered, voicemail"):
        settle(store, "recall", "done")
