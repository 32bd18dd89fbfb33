"""The recorder keeps everything until the database takes it, and lets no single event keep all others back."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from campaign.domain import failpoints
from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import placed
from campaign.policies.events import Answered, Reported
from campaign.policies.looking import LookRules
from campaign.services.claiming import Wish, claim, confirm
from campaign.services.recorder import Recorder
from campaign.storage.engine import Store
from campaign.storage.schema import attempts
from tests.engine import LINE, add_campaign, numbers, outside

RULES = {LINE.name: LookRules(poll=LINE.poll)}


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm_all()


def states(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(attempts.c.state).order_by(attempts.c.id)).scalars())


def sending(store: Store, how_many: int) -> list[tuple[int, int]]:
    add_campaign(store, numbers(how_many))
    refs = iter(range(1000))
    calls = claim(store, LINE, Wish(how_many), lambda: f"{next(refs):032x}").calls
    return [(call.attempt_id, call.token) for call in confirm(store, LINE, calls, 30.0, RULES)]


async def recorded(recorder: Recorder) -> None:
    await asyncio.wait_for(recorder.drained(), 20.0)


def test_an_event_that_no_database_can_hold_does_not_keep_the_others_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    # Given three calls on their way, and a result of the second that fits no column
    first, second, third = sending(store, 3)
    monstrous = CallReport(ReportStatus.FINAL, second[0], disposition=Disposition.BUSY, talk_seconds=2**70)

    async def run() -> bool:
        recorder = outside(store, RULES).recorder
        recorder.put((first[0], Answered(first[1], placed("a"))))
        recorder.put((second[0], Reported(monstrous)))
        recorder.put((third[0], Answered(third[1], placed("c"))))
        await recorded(recorder)
        return recorder.troubled

    # When all are recorded together
    troubled = asyncio.run(run())
    # Then the others are; the one is left to its lease, said in the log, and the process dials on
    assert states(store) == [AttemptState.PLACED, AttemptState.SENDING, AttemptState.PLACED]
    assert not troubled
    assert f"attempt {second[0]}" in caplog.text


def test_a_fault_that_passes_loses_nothing(store: Store) -> None:
    # Given a database that fails twice
    first, second = sending(store, 2)
    left = [OSError("away"), OSError("away")]

    def fail() -> None:
        if left:
            raise left.pop()

    failpoints.arm("record.before_commit", fail)

    async def run() -> None:
        recorder = outside(store, RULES).recorder
        recorder.put(*((attempt_id, Answered(token, placed(str(token)))) for attempt_id, token in (first, second)))
        await recorded(recorder)

    # When answers are recorded, then they are, in the end
    asyncio.run(run())
    assert states(store) == [AttemptState.PLACED, AttemptState.PLACED]


def test_a_database_that_is_away_for_long_is_still_asked_every_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an answer to record, and a database that is away for twelve askings
    (call,) = sending(store, 1)
    slept: list[float] = []
    turn = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await turn(0)

    async def away(_work: object, *_arguments: object) -> None:
        if len(slept) <= 12:
            raise ConnectionError

    async def run() -> None:
        recorder = Recorder(store, RULES, away)
        recorder.put((call[0], Answered(call[1], placed("a"))))
        await recorded(recorder)

    # When it is recorded, Then each asking comes a second after the one before it at most
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(run())
    assert len(slept) > 12
    assert max(slept) <= 1.0
