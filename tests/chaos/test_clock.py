"""A worker whose clock is wrong neither dials nor lets an absence age before its time."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text, update

from campaign.domain.calls import Finding, FindingKind, RememberedCall
from campaign.domain.clock import CLOCKS_APART
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import unconfirmed
from campaign.policies.events import Answered
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.runtime import Runtime
from campaign.services.claiming import Wish, claim, confirm
from campaign.services.recording import record
from campaign.services.settling import Settler
from campaign.storage import process_rows
from campaign.storage.engine import Store, SystemClock, open_store
from campaign.storage.schema import attempts
from tests.engine import LINE, add_campaign, numbers, outside
from workers.process import Process

OFF = 300.0
RULES = {LINE.name: LookRules(poll=LINE.poll, request_timeout=2.0, list_lag=2.0, looks_after=0.0, grace=100.0)}


class WrongClock(SystemClock):
    def __init__(self, off: float) -> None:
        self.off = off

    def now(self) -> float:
        return super().now() + self.off


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """Tells the server's time, as in production."""
    opened = open_store(postgres_url)
    yield opened
    opened.close()


def claimed(store: Store) -> list[Any]:
    return list(claim(store, LINE, Wish(10), lambda: f"{id(object()):032x}").calls)


@pytest.mark.parametrize("off", [OFF, -OFF, 2.5, -2.5])
def test_a_clock_that_is_off_claims_nothing_and_says_so(
    store: Store, off: float, caplog: pytest.LogCaptureFixture
) -> None:
    # Given due numbers, and a worker whose clock differs from the database's
    add_campaign(store, numbers(1))
    store.clock = WrongClock(off)
    # When it claims, then it gets nothing and its log says why
    assert claimed(store) == []
    assert "clock" in caplog.text
    # When its clock has been set right, then it dials
    store.clock = WrongClock(0.0)
    assert len(claimed(store)) == 1


class NothingThere:
    """A provider that lists everything but our call; ``as_of`` is the worker's own clock, as the senders say it."""

    capabilities = Capabilities(find_by_our_id=True, list_lag=2.0)

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        return Finding(FindingKind.ABSENT, self._now())


@pytest.mark.parametrize(("off", "aged", "state"), [
    (OFF, 0.0, AttemptState.UNCONFIRMED),  # five minutes ahead: it must not look as if five minutes had passed
    (0.0, OFF, AttemptState.NOT_PLACED),  # and when they have, by every clock, the number is free
    (-OFF, OFF, AttemptState.UNCONFIRMED),  # five minutes behind: its question ended before the call began
])  # fmt: skip
def test_an_absence_ages_by_the_slower_of_two_clocks(
    store: Store, off: float, aged: float, state: AttemptState
) -> None:
    # Given a lost call, sent `aged` seconds ago by the database's clock
    add_campaign(store, numbers(1))
    calls = confirm(store, LINE, claimed(store), 10.0, RULES)
    record(store, RULES, [(calls[0].attempt_id, Answered(calls[0].token, unconfirmed("lost")))])
    with store.write() as connection:
        connection.execute(update(attempts).values(sent_at=attempts.c.sent_at - aged, next_look_at=0.0))
    # When a settler whose clock is `off` looks three times, and the provider shows nothing
    settler = Settler(LINE, NothingThere(WrongClock(off).now), outside(store, RULES))  # type: ignore[arg-type]
    for _ in range(3):
        with store.write() as connection:
            waiting = attempts.c.state == AttemptState.UNCONFIRMED
            connection.execute(update(attempts).where(waiting).values(next_look_at=0.0))
        asyncio.run(_look_once(settler))
    # Then
    with store.read() as connection:
        assert connection.execute(select(attempts.c.state)).scalar_one() == state


async def _look_once(settler: Settler) -> None:
    await settler.run(0.2)
    await settler.outside.recorder.drained()


def test_a_worker_that_freezes_in_a_transaction_holds_the_line_for_half_a_minute_at_most(store: Store) -> None:
    with store.read() as connection:
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "30s"


def test_the_commit_before_a_call_survives_a_power_cut(store: Store) -> None:
    """The test server runs with synchronous_commit off; ours is on all the same."""
    with store.read() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_a_sign_of_life_tells_how_far_the_clock_is_off(store: Store) -> None:
    # Given a worker's process on a machine that is five minutes ahead
    store.clock = WrongClock(OFF)
    unused: Any = None
    process = Process(Runtime(unused, store, {}), unused, unused, outside(store), unused, "far-away:7")
    # When it has carried out an order
    process.beat("dial")
    # Then whoever asks the database is told
    with store.read() as connection:
        ((machine, ahead),) = process_rows.wrong_clocks(connection, 0.0, CLOCKS_APART)
    assert machine == "far-away"
    assert ahead == pytest.approx(OFF, abs=2.0)
