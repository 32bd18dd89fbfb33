"""A provider that takes calls and tells no results for an hour: nobody else is dialled, nobody is wrongly failed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from campaign.domain.calls import CallReport, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.services.dialing import Dialer
from campaign.services.sweeping import sweep
from campaign.services.tracking import Tracker
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, dial_once, numbers, outside

MANY, IN_FLIGHT = 12, 5
SCHEDULE = PollSchedule(first_after=10.0, every=10.0, at_most_every=60.0, give_up_after=7200.0)
RULES = {LINE.name: LookRules(poll=SCHEDULE)}
NARROW = LINE.model_copy(update={"max_in_flight": IN_FLIGHT, "poll": SCHEDULE})
HOUR, STEP = 3600.0, 300.0


class Mute(ScriptedProvider):
    """Until it ``speaks`` its poll endpoint is out of reach, and every other time our own file raises over it."""

    capabilities = Capabilities(poll=True, poll_batch=3)

    def __init__(self) -> None:
        super().__init__()
        self.speaks, self.questions, self.asked = False, 0, 0

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        self.questions += 1
        self.asked += len(calls)
        if self.speaks:
            ended = CallReport(ReportStatus.FINAL, disposition=Disposition.ANSWERED, raw="COMPLETED")
            return [replace(ended, attempt_id=call.attempt_id) for call in calls]
        if self.questions % 2:
            raise ConnectionError
        return [CallReport(ReportStatus.UNREACHABLE, attempt_id=call.attempt_id) for call in calls]


def one_round(store: Store, provider: Mute, *, dial: bool = True) -> None:
    """What the orders of a tick do: ask what is due, sweep, dial what there is room for."""

    async def run() -> None:
        side = outside(store, RULES)
        await Tracker(NARROW, provider, side).run(5.0)  # type: ignore[arg-type]
        await side.recorder.drained()
        sweep(store, RULES)
        if dial:
            await dial_once(Dialer(NARROW, provider, side), 1.0)

    asyncio.run(run())


def counts(store: Store, column: Any) -> dict[str | None, int]:
    with store.read() as connection:
        return {word: n for word, n in connection.execute(select(column, func.count()).group_by(column))}


@pytest.mark.slow
def test_an_hour_without_results_fills_the_line_and_fails_nobody(store: Store, clock: FakeClock) -> None:
    # Given more numbers than the line has room for
    add_campaign(store, numbers(MANY))
    provider = Mute()
    one_round(store, provider)
    # When no result can be had for an hour
    rounds = int(HOUR / STEP)
    for nth in range(rounds):
        clock.advance(STEP)
        one_round(store, provider, dial=nth % 4 == 0)
        # Then the open calls keep their slots, and nobody else is dialled
        assert len(provider.rung) == IN_FLIGHT
    assert counts(store, attempts.c.state) == {"placed": IN_FLIGHT}
    assert counts(store, targets.c.state) == {"calling": IN_FLIGHT, "waiting": MANY - IN_FLIGHT}
    # And it has gone on asking about each of them, once a round at most
    assert rounds * IN_FLIGHT // 2 <= provider.asked <= rounds * IN_FLIGHT
    # When it speaks again, then every result comes in and the rest is dialled, each number once
    provider.speaks = True
    for _ in range(4):
        clock.advance(STEP)
        one_round(store, provider)
    assert counts(store, targets.c.disposition) == {"answered": MANY}
    made = counts(store, attempts.c.state)
    made.pop("released", None)  # given back unsent, where an order ended before their start times came
    assert made == {"ended": MANY}
    assert sorted(phone for _, phone in provider.rung) == sorted(numbers(MANY))
