"""Whoever locks many rows does so in one order: on a real PostgreSQL, pair by pair, at the same time."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import PauseFault, pause, placed
from campaign.policies.events import Answered
from campaign.services.campaigns import cancel
from campaign.services.recorder import Recorder
from campaign.services.recording import record
from campaign.storage import attempt_rows, held, retries, targets
from campaign.storage.engine import Connection, Store, is_lasting, open_store
from campaign.storage.schema import attempts
from campaign.storage.schema import targets as target_table
from tests.engine import add_campaign, numbers

MANY = 1500
ROUNDS = 6


class Undone(Exception):
    """The transaction is rolled back, so that the next round finds the rows as they were."""


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = open_store(postgres_url)
    yield opened
    opened.close()


def backwards(store: Store) -> int:
    """A campaign whose rows lie on the disk in the reverse order of their ids, each target with one attempt."""
    campaign_id = add_campaign(store, [])
    base = {"campaign_id": campaign_id, "variables": {}, "tally": {}, "state": "done", "disposition": "busy"}
    people = [{**base, "id": n + 1, "phone": phone} for n, phone in enumerate(numbers(MANY))]
    tried = [
        {"id": p["id"], "target_id": p["id"], "campaign_id": campaign_id, "line": "one", "phone": p["phone"],
         "our_ref": f"{p['id']:032x}", "state": "ended", "claimed_at": 1.0, "disposition": "unknown", "counted": True}
        for p in people
    ]  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(target_table), people[::-1])
        connection.execute(insert(attempts), tried[::-1])
    return campaign_id


def undone(store: Store, work: Callable[[Connection], object]) -> None:
    try:
        with store.write() as connection:
            work(connection)
            raise Undone
    except Undone:
        pass


def meet(*works: Callable[[], object]) -> None:
    """All at the same moment, several times. Raises what any of them raises."""
    gate = threading.Barrier(len(works))

    def again_and_again(work: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            gate.wait(30.0)
            try:
                work()
            except BaseException:
                gate.abort()
                raise

    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(again_and_again, work) for work in works]:
            done.result()


IDS = list(range(1, MANY + 1))
PHONES = numbers(MANY)
WAITING: dict[str, Any] = {"state": "waiting", "due_at": 1e12, "disposition": None, "reason": "outside calling hours"}
BULK: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[Connection, int], object]]] = {
    "begin_round": ({}, {}, lambda c, n: retries.begin_round(c, n, [Disposition.BUSY], "again", 1.0)),
    "skip_waiting": (WAITING, {}, lambda c, n: targets.skip_waiting(c, n, "canceled", 1.0)),
    "skip_numbers": (WAITING, {}, lambda c, n: targets.skip_numbers(c, PHONES, "listed", 1.0)),
    "ask_gates_again": (WAITING, {}, lambda c, n: targets.ask_gates_again(c, n, ["outside"], 1.0)),
    "release_held": ({"state": "held"}, {}, lambda c, n: held.release_held(c, n, None, WAITING)),
    "decide_unknown": ({"state": "held"}, {}, lambda c, n: held.decide_unknown(c, n, None, {"reason": "a person"})),
    "decide_unconfirmed": (
        {},
        {"state": "unconfirmed", "disposition": None},
        lambda c, n: held.decide_unconfirmed(c, n, None, {"state": "ended"}),
    ),
    "bring_looks_forward": (
        {},
        {"state": "placed", "disposition": None, "next_look_at": 1e12},
        lambda c, n: attempt_rows.bring_looks_forward(c, IDS, 1.0),
    ),
}


@pytest.mark.parametrize("name", BULK)
def test_a_statement_over_many_rows_and_a_recording_of_the_same_do_not_deadlock(store: Store, name: str) -> None:
    # Given rows that lie the other way round than their ids, as after many updates
    campaign_id = backwards(store)
    of_targets, of_attempts, bulk = BULK[name]
    with store.write() as connection:
        if of_targets:
            connection.execute(update(target_table).values(of_targets))
        if of_attempts:
            connection.execute(update(attempts).values(of_attempts))
    # When one locks all of them to record something and another changes all of them, Then each gets its turn
    meet(
        lambda: undone(store, lambda connection: attempt_rows.lock_pairs(connection, IDS)),
        lambda: undone(store, lambda connection: bulk(connection, campaign_id)),
    )


def test_a_provider_that_pauses_a_campaign_and_a_person_who_cancels_it_do_not_deadlock(store: Store) -> None:
    # Given a campaign with calls out and others that wait
    campaign_id = add_campaign(store, numbers(MANY))
    with store.write() as connection:
        row = {"campaign_id": campaign_id, "line": "one", "state": "sending", "claimed_at": 1.0, "lease_until": 1e12}
        mine = [{**row, "id": n, "target_id": n, "phone": PHONES[n - 1], "our_ref": f"{n:032x}"} for n in range(1, 200)]
        connection.execute(insert(attempts), mine)
        calling = update(target_table).where(target_table.c.id < 200)
        connection.execute(calling.values(state="calling", due_at=None, attempt_id=target_table.c.id))
    refused = [(n, Answered(1, pause(PauseFault.AUTH, "wrong key"))) for n in range(1, 200)]
    # When its provider says 401 to all of them while a person cancels it
    with ThreadPoolExecutor(2) as pool:
        recorded, canceled = pool.submit(record, store, {}, refused), pool.submit(cancel, store, "recall")
        recorded.result()
        canceled.result()
    # Then both are heard
    with store.read() as connection:
        states = set(connection.exec_driver_sql("SELECT state FROM attempts").scalars())
    assert states == {"refused"}


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_an_answer_whose_recording_was_the_victim_is_recorded_all_the_same(store: Store, code: str) -> None:
    # Given a database that ends the first two recordings for the sake of another transaction
    campaign_id = add_campaign(store, numbers(1))
    with store.write() as connection:
        row = {"campaign_id": campaign_id, "target_id": 1, "phone": PHONES[0], "our_ref": "a" * 32, "line": "one"}
        connection.execute(insert(attempts), [{**row, "state": "sending", "claimed_at": 1.0, "lease_until": 1e12}])
        connection.execute(update(target_table).values(state="calling", due_at=None, attempt_id=1))
    met: list[Exception] = []

    async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            if len(met) < 2:
                with store.write() as connection:
                    connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")
            return await asyncio.to_thread(work, *arguments)
        except Exception as error:
            met.append(error)
            raise

    async def answer() -> None:
        recorder = Recorder(store, {}, in_thread)
        recorder.put((1, Answered(1, placed("call-1"))))
        await recorder.drained()

    # When an answer is recorded, Then it is tried again until it is written
    asyncio.run(answer())
    assert len(met) == 2
    assert not any(is_lasting(error) for error in met)
    with store.read() as connection:
        assert connection.execute(select(attempts.c.state, attempts.c.call_id)).one() == ("placed", "call-1")
