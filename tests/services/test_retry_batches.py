"""Retry batches: planned in words, fired once by any number of beats."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.states import CampaignState
from campaign.services import campaigns, do_not_call
from campaign.services.retry_batches import Batch, end_batch, fire_due, list_batches, plan_batch
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_target, journal, running, target

PHONE = "+12025550{:03d}".format
HOUR = 3600.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def only(batches: list[Batch]) -> Batch:
    assert len(batches) == 1
    return batches[0]


def test_a_batch_makes_the_targets_that_ended_so_wait_again_and_begins_a_new_round(
    store: Store, clock: FakeClock
) -> None:
    # Given targets in every state, two of which ended busy
    campaign = running(store)
    busy = add_target(
        store, campaign, PHONE(1), "done", disposition="busy", attempts=3, tally={"busy": 3}, ended_at=1.0
    )
    others = [
        add_target(store, campaign, PHONE(2), "done", disposition="answered", attempts=1),
        add_target(store, campaign, PHONE(3), "skipped", reason="do not call"),
        add_target(store, campaign, PHONE(4), "held", disposition="unknown"),
        add_target(store, campaign, PHONE(5), "calling", disposition="busy"),
        add_target(store, running(store, "other"), PHONE(6), "done", disposition="busy"),
    ]
    before = [target(store, other) for other in others]
    # When a batch for busy fires
    planned = plan_batch(store, "recall", ["busy", "no_answer"])
    fires = fire_due(store)
    # Then only the one that is done and busy waits again, its attempts kept and its round new
    assert [(fire.batch_id, fire.targets, fire.passed_over) for fire in fires] == [(planned.id, 1, 1)]
    row = target(store, busy)
    assert (row["state"], row["due_at"], row["reason"]) == ("waiting", clock.now(), f"retry batch {planned.id}")
    assert (row["attempts"], row["attempts_before_round"], row["tally"], row["ended_at"]) == (3, 3, {}, None)
    assert [target(store, other) for other in others] == before


def test_a_batch_waits_for_its_time_and_fires_once(store: Store, clock: FakeClock) -> None:
    add_target(store, running(store), PHONE(1), "done", disposition="busy")
    plan_batch(store, "recall", ["busy"], at=clock.now() + HOUR)
    assert fire_due(store) == []
    clock.advance(HOUR)
    assert len(fire_due(store)) == 1
    assert fire_due(store) == []
    batch = only(list_batches(store, "recall"))
    assert (batch.next_fire_at, [fire.targets for fire in batch.fires]) == (None, [1])


def test_a_time_is_read_on_the_wall_clock_of_its_zone(store: Store, clock: FakeClock) -> None:
    running(store)
    planned = plan_batch(store, "recall", ["busy"], at="2027-01-15 10:00", zone="Europe/Berlin")
    assert planned.next_fire_at == at("2027-01-15T10:00+01:00")


def test_many_beats_fire_a_batch_once(store: Store) -> None:
    campaign = running(store)
    for number in range(50):
        add_target(store, campaign, PHONE(number), "done", disposition="busy", attempts=1)
    plan_batch(store, "recall", ["busy"])
    with ThreadPoolExecutor(4) as pool:
        fires = [fire for some in pool.map(lambda _: fire_due(store), range(8)) for fire in some]
    assert [fire.targets for fire in fires] == [50]
    assert journal(store).count("retry_fired") == 1


def test_a_schedule_missed_for_days_fires_once_and_then_at_its_next_time(store: Store, clock: FakeClock) -> None:
    add_target(store, running(store), PHONE(1), "done", disposition="busy")
    first = plan_batch(store, "recall", ["busy"], every="0 10 * * *").next_fire_at
    assert first is not None
    clock.advance(first - clock.now() + 3 * 24 * HOUR + 60)
    assert [fire.due_at for fire in fire_due(store)] == [first]
    assert fire_due(store) == []
    assert only(list_batches(store, "recall")).next_fire_at == first + 4 * 24 * HOUR


def test_a_fire_wakes_a_completed_campaign(store: Store) -> None:
    add_target(store, running(store), PHONE(1), "done", disposition="no_answer")
    plan_batch(store, "recall", ["no_answer"])
    campaigns.complete_finished(store)
    fire_due(store)
    assert campaigns.get(store, "recall").state is CampaignState.RUNNING
    assert campaigns.complete_finished(store) == []


def test_a_fire_leaves_a_paused_campaign_paused(store: Store) -> None:
    again = add_target(store, running(store), PHONE(1), "done", disposition="no_answer")
    plan_batch(store, "recall", ["no_answer"])
    campaigns.pause(store, "recall")
    fire_due(store)
    assert campaigns.get(store, "recall").state is CampaignState.PAUSED
    assert target(store, again)["state"] == "waiting"


def test_a_canceled_campaign_fires_nothing_and_takes_no_batch(store: Store) -> None:
    done = add_target(store, running(store), PHONE(1), "done", disposition="busy")
    plan_batch(store, "recall", ["busy"])
    campaigns.cancel(store, "recall")
    assert fire_due(store) == []
    assert target(store, done)["state"] == "done"
    with pytest.raises(NotPossible, match="canceled for good"):
        plan_batch(store, "recall", ["busy"])


def test_a_number_on_the_do_not_call_list_keeps_its_result(store: Store) -> None:
    listed = add_target(store, running(store), PHONE(1), "done", disposition="busy")
    do_not_call.add(store, [PHONE(1)])
    plan_batch(store, "recall", ["busy"])
    fire_due(store)
    assert (target(store, listed)["state"], target(store, listed)["disposition"]) == ("done", "busy")


def test_a_batch_that_is_ended_fires_no_more(store: Store) -> None:
    add_target(store, running(store), PHONE(1), "done", disposition="busy")
    planned = plan_batch(store, "recall", ["busy"], every="@hourly")
    end_batch(store, "recall", planned.id)
    assert only(list_batches(store, "recall")).next_fire_at is None
    with pytest.raises(NotFound, match="no retry batch"):
        end_batch(store, "recall", planned.id)


def test_a_time_a_moment_ago_means_now(store: Store, clock: FakeClock) -> None:
    running(store)
    plan_batch(store, "recall", ["busy"], at=clock.now() - 30)
    assert len(fire_due(store)) == 1


@pytest.mark.parametrize(
    ("words", "when", "says"),
    [
        ([], {}, "say which dispositions"),
        (["bussy"], {}, "'bussy' is not a disposition"),
        (["answered"], {}, "answered is final"),
        (["busy"], {"at": "2020-01-01 10:00"}, "2020-01-01T10:00:00Z has passed"),
        (["busy"], {"at": "tomorrow"}, "'tomorrow' is not a time"),
        (["busy"], {"every": "0 10 * *"}, "needs 5"),
        (["busy"], {"every": "0 0 31 2 *"}, "never comes"),
        (["busy"], {"every": "@daily", "zone": "Berlin"}, "'Berlin' is not a time zone"),
        (["busy"], {"every": "@daily", "at": "2030-01-01"}, "exclude each other"),
    ],
)
def test_what_cannot_be_planned_says_why_and_plans_nothing(
    store: Store, words: list[str], when: dict[str, str], says: str
) -> None:
    running(store)
    with pytest.raises(UsageFault, match=says):
        plan_batch(store, "recall", words, **when)
    assert list_batches(store, "recall") == []
