"""Making a campaign, moving it through its life, changing its plan, completing it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.services import campaigns
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_target, add_upload, journal, running, target

PHONE = "+12025550{:03d}".format


def test_a_campaign_is_made_as_a_draft_and_read_back_with_its_plan(store: Store, clock: FakeClock) -> None:
    plan = Plan.model_validate(
        {"retry": {"busy": ["5m"]}, "hours": {"windows": [{"days": ["mon"], "from": "09:00", "to": "17:30"}]}}
    )
    campaigns.create(store, "recall", "sandbox", plan, "TR")
    seen = campaigns.get(store, "recall")
    assert (seen.state, seen.line, seen.region, seen.plan) == (CampaignState.DRAFT, "sandbox", "TR", plan)
    assert seen.created_at == clock.now()
    assert journal(store) == ["created"]


def test_a_name_that_is_taken_is_refused_with_the_remedy(store: Store) -> None:
    running(store, "recall")
    with pytest.raises(UsageFault, match="'recall' exists already; choose another name"):
        campaigns.create(store, "recall", "sandbox", Plan())


@pytest.mark.parametrize("name", ["", " recall", "../recall", "a\nb", "x" * 101, "recall-"])
def test_a_name_that_cannot_be_typed_again_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageFault, match="campaign name"):
        campaigns.create(store, name, "sandbox", Plan())


def test_an_unknown_name_lists_those_that_there_are(store: Store) -> None:
    running(store, "recall")
    with pytest.raises(NotFound, match="no campaign 'recal'; there are recall"):
        campaigns.get(store, "recal")


def test_each_step_said_twice_is_done_once(store: Store) -> None:
    campaigns.create(store, "recall", "sandbox", Plan())
    for step in (campaigns.start, campaigns.pause, campaigns.resume, campaigns.cancel):
        once, again = step(store, "recall"), step(store, "recall")
        assert once == again
    assert journal(store) == ["created", "started", "paused", "resumed", "canceled"]


def test_a_step_that_is_not_possible_says_why_and_changes_nothing(store: Store) -> None:
    campaigns.create(store, "recall", "sandbox", Plan())
    with pytest.raises(NotPossible, match="cannot be resumed: it has not been started"):
        campaigns.resume(store, "recall")
    campaigns.cancel(store, "recall")
    with pytest.raises(NotPossible, match="canceled for good"):
        campaigns.start(store, "recall")
    assert campaigns.get(store, "recall").state is CampaignState.CANCELED


def test_a_pause_keeps_its_reason_until_it_is_resumed(store: Store) -> None:
    running(store)
    assert campaigns.pause(store, "recall", "the key was refused (401)").why == "the key was refused (401)"
    assert campaigns.resume(store, "recall").why is None


def test_cancel_skips_what_waits_and_lets_the_rest_be(store: Store) -> None:
    campaign = running(store)
    waits = add_target(store, campaign, PHONE(1))
    calls, held = add_target(store, campaign, PHONE(2), "calling"), add_target(store, campaign, PHONE(3), "held")
    elsewhere = add_target(store, running(store, "other"), PHONE(1))
    campaigns.cancel(store, "recall")
    assert (target(store, waits)["state"], target(store, waits)["reason"]) == ("skipped", "campaign canceled")
    assert [target(store, t)["state"] for t in (calls, held, elsewhere)] == ["calling", "held", "waiting"]


def test_what_comes_to_wait_in_a_canceled_campaign_is_skipped_by_the_sweep(store: Store) -> None:
    campaign = running(store)
    campaigns.cancel(store, "recall")
    late = add_target(store, campaign, PHONE(1))
    campaigns.complete_finished(store)
    assert target(store, late)["state"] == "skipped"


def test_set_changes_the_plan_key_by_key(store: Store) -> None:
    running(store)
    seen = campaigns.set_values(
        store,
        "recall",
        {
            "calls_per_second": "2.5",
            "max_in_flight": "7",
            "retry.busy": "5m,10m",
            "retry.no_answer": "none",
            "on_unknown": "retry",
            "conflict_interval": "3m",
            "hours.zone": "Europe/Berlin",
            "hours.windows": "mon-fri 09:00-20:00, sat-sun 10:00-14:00",
            "hours.holidays": "2026-12-25",
            "line": "backup",
        },
        lines=["sandbox", "backup"],
    )
    assert (seen.plan.pace.calls_per_second, seen.plan.pace.max_in_flight, seen.line) == (2.5, 7, "backup")
    assert seen.plan.retry["busy"] == (300.0, 600.0)  # type: ignore[index]
    assert "no_answer" not in seen.plan.retry
    assert seen.plan.hours is not None
    assert [window.days for window in seen.plan.hours.windows] == [("mon", "tue", "wed", "thu", "fri"), ("sat", "sun")]
    assert campaigns.get(store, "recall").plan == seen.plan
    assert campaigns.set_values(store, "recall", {"hours": "none", "calls_per_second": "none"}).plan.hours is None


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("max_atempts", "3", "did you mean max_attempts"),
        ("retry.answered", "5m", "not a setting"),
        ("retry.busy", "soon", "retry.busy"),
        ("calls_per_second", "-1", "pace.calls_per_second"),
        ("hours.windows", "mon 20:00-09:00", "hours.windows.0"),
        ("hours.windows", "noon", "is no window"),
        ("hours", "always", "hours on the command line"),
        ("max_attempts", "none", "cannot be taken away"),
        ("on_unknown", "ring", "on_unknown"),
        ("line", "nowhere", "no such line; configured are sandbox"),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_nothing_of_the_call_is_kept(
    store: Store, key: str, value: str, says: str
) -> None:
    running(store)
    with pytest.raises(UsageFault, match=says):
        campaigns.set_values(store, "recall", {"weight": "9", key: value}, lines=["sandbox"])
    assert campaigns.get(store, "recall").plan == Plan()


def test_new_hours_ask_again_the_targets_that_waited_for_the_old_ones(store: Store, clock: FakeClock) -> None:
    campaign, later = running(store), clock.now() + 9999
    closed = add_target(store, campaign, PHONE(1), due_at=later, reason="outside calling hours")
    retries = add_target(store, campaign, PHONE(2), due_at=later, reason="retry 1 of 2 after busy")
    campaigns.set_values(store, "recall", {"hours.windows": "00:00-23:59"})
    assert target(store, closed)["due_at"] == clock.now()
    assert target(store, retries)["due_at"] == later


def test_a_campaign_completes_when_nothing_is_left_and_says_what_is_held(store: Store, clock: FakeClock) -> None:
    campaign = running(store)
    done, held = add_target(store, campaign, PHONE(1), "done"), add_target(store, campaign, PHONE(2), "held")
    assert campaigns.complete_finished(store) == ["recall"]
    seen = campaigns.get(store, "recall")
    assert (seen.state, seen.ended_at) == (CampaignState.COMPLETED, clock.now())
    assert seen.why == "1 held, a person must decide: `campaign settle`"
    assert [target(store, t)["state"] for t in (done, held)] == ["done", "held"]


@pytest.mark.parametrize("state", ["waiting", "calling"])
def test_a_campaign_with_work_left_keeps_running(store: Store, state: str) -> None:
    campaign = running(store)
    add_target(store, campaign, PHONE(1), "done")
    add_target(store, campaign, PHONE(2), state)
    assert campaigns.complete_finished(store) == []


@pytest.mark.parametrize(("state", "completes"), [("received", []), ("reading", []), ("visible", ["recall"])])
def test_an_upload_that_is_not_read_keeps_a_campaign_running(store: Store, state: str, completes: list[str]) -> None:
    add_upload(store, running(store), state=state)
    assert campaigns.complete_finished(store) == completes


def test_a_campaign_that_was_never_given_numbers_keeps_running(store: Store) -> None:
    running(store)
    assert campaigns.complete_finished(store) == []


def test_a_paused_campaign_does_not_complete_by_itself(store: Store) -> None:
    add_target(store, running(store), PHONE(1), "done")
    campaigns.pause(store, "recall")
    assert campaigns.complete_finished(store) == []


def test_an_upload_into_a_completed_campaign_wakes_it(store: Store) -> None:
    campaign = running(store)
    add_target(store, campaign, PHONE(1), "done")
    campaigns.complete_finished(store)
    add_target(store, campaign, PHONE(2))
    campaigns.complete_finished(store)
    seen = campaigns.get(store, "recall")
    assert (seen.state, seen.ended_at, seen.why) == (CampaignState.RUNNING, None, None)


def test_many_workers_complete_each_campaign_once(store: Store) -> None:
    for number in range(6):
        add_target(store, running(store, f"c{number}"), PHONE(number), "done")
    with ThreadPoolExecutor(4) as pool:
        found = [name for names in pool.map(lambda _: campaigns.complete_finished(store), range(8)) for name in names]
    assert sorted(found) == [f"c{number}" for number in range(6)]
    assert journal(store).count("completed") == 6
