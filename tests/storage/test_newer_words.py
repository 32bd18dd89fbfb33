"""What a newer version has written is left alone by this one: nothing is dialled by it, nothing of it is changed."""

import pytest
from sqlalchemy import insert, select, text, update

from campaign.domain.plan import OnUnknown, Plan
from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.domain.verdicts import placed
from campaign.policies.events import Answered
from campaign.policies.looking import LookRules
from campaign.services import ticking
from campaign.services.claiming import Wish, claim, confirm
from campaign.services.recording import record
from campaign.storage import line_rows
from campaign.storage.engine import Store
from campaign.storage.newer_words import plan_for_dialling, plan_for_recording
from campaign.storage.schema import attempts, campaigns, lines
from tests.engine import LINE, add_campaign, numbers

RULES = {LINE.name: LookRules(poll=LINE.poll)}
TOMORROW = {**Plan(retry={}).model_dump(mode="json", by_alias=True), "quiet_moons": ["full"]}


@pytest.fixture
def emptied_postgres_url(postgres_url: str) -> str:
    """One of its own, since its tables are changed."""
    return postgres_url


@pytest.fixture
def unchecked(store: Store) -> Store:
    """A database whose vocabularies take any word, as a later migration may have widened them."""
    with store.write() as connection:
        if store.sqlite:
            connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        else:
            connection.execute(text("ALTER TABLE lines DROP CONSTRAINT ck_lines_state_is_a_word"))
            connection.execute(text("ALTER TABLE attempts DROP CONSTRAINT ck_attempts_state_is_a_word"))
    return store


def claimed(store: Store, most: int = 10) -> list[str]:
    refs = iter(range(1000))
    return [call.call.phone for call in claim(store, LINE, Wish(most), lambda: f"{next(refs):032x}").calls]


def test_a_line_in_a_state_of_tomorrow_is_not_dialled_and_stays_so(unchecked: Store) -> None:
    store = unchecked
    add_campaign(store, numbers(2))
    with store.write() as connection:
        connection.execute(insert(lines), [{"name": LINE.name, "state": "hibernating", "why": "winter"}])
    # When it is claimed for, ticked and told of an answer
    assert claimed(store) == []
    assert ticking.orders(store, {}) == []
    with store.write() as connection:
        line_rows.write_health(connection, LINE.name, LineHealth(state=LineState.BROKEN))
    # Then it is as it was
    with store.write() as connection:
        row = connection.execute(select(lines)).mappings().one()
        assert (row["state"], row["why"]) == ("hibernating", "winter")
        # And dialled when the newer version has opened it again
        connection.execute(update(lines).values(state=LineState.OPEN))
    assert len(claimed(store)) == 2


def test_a_plan_of_tomorrow_is_dialled_by_tomorrows_version_alone(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    # Given two campaigns on one line, one of them with a gate that this version does not know
    add_campaign(store, numbers(2), name="known")
    other = add_campaign(store, ["+12025559001"], name="unknown")
    with store.write() as connection:
        connection.execute(update(campaigns).where(campaigns.c.id == other).values(plan=TOMORROW))
    # Then only the other is dialled, and the log names the key
    assert sorted(claimed(store)) == numbers(2)
    assert "quiet_moons" in caplog.text


def test_how_a_call_ended_is_recorded_though_its_plan_has_been_changed_by_a_newer_version(store: Store) -> None:
    # Given a call that this version has sent, and then a plan with a key that it does not know
    add_campaign(store, numbers(1))
    calls = list(claim(store, LINE, Wish(1), lambda: "a" * 32).calls)
    (sent,) = confirm(store, LINE, calls, 10.0, RULES)
    with store.write() as connection:
        connection.execute(update(campaigns).values(plan=TOMORROW))
    # When its answer comes, then it is not lost
    record(store, RULES, [(sent.attempt_id, Answered(sent.token, placed("call-1")))])
    with store.read() as connection:
        assert connection.execute(select(attempts.c.state, attempts.c.call_id)).one() == ("placed", "call-1")


def test_an_attempt_in_a_state_of_tomorrow_keeps_no_other_from_being_recorded(unchecked: Store) -> None:
    store = unchecked
    add_campaign(store, numbers(2))
    refs = iter("ab")
    calls = list(claim(store, LINE, Wish(2), lambda: next(refs) * 32).calls)
    sent = confirm(store, LINE, calls, 10.0, RULES)
    with store.write() as connection:
        connection.execute(update(attempts).where(attempts.c.id == sent[0].attempt_id).values(state="parked"))
    # When answers for both come in one batch, and one is asked about again
    record(store, RULES, [(call.attempt_id, Answered(call.token, placed(f"c-{call.attempt_id}"))) for call in sent])
    assert confirm(store, LINE, sent[:1], 10.0, RULES) == []
    # Then the one is untouched, and the other is recorded
    with store.read() as connection:
        found = dict(connection.execute(select(attempts.c.id, attempts.c.state)).all())
    assert found == {sent[0].attempt_id: "parked", sent[1].attempt_id: "placed"}


@pytest.mark.parametrize(("change", "kept"), [
    ({"quiet_moons": ["full"]}, {}),
    ({"retry": {"busy": ["5m"], "machine": ["1h"]}}, {"retry": {"busy": (300.0,)}}),
    ({"on_unknown": "ask_the_oracle"}, {"on_unknown": OnUnknown.HOLD}),  # the careful one
    ({"hours": {"zone": "target", "pack": "eu"}}, {"hours": None}),
])  # fmt: skip
def test_a_plan_is_read_as_far_as_it_is_known(change: dict[str, object], kept: dict[str, object]) -> None:
    document = {**Plan(retry={}).model_dump(mode="json", by_alias=True), "max_attempts": 7, **change}
    assert plan_for_dialling(1, document) is None
    read = plan_for_recording(document)
    assert read.max_attempts == 7
    assert {key: getattr(read, key) for key in kept} == kept
