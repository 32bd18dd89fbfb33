"""A line that may hold a call before it rings stops so much earlier: at the claim, and at the last moment."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from campaign.domain.line import Line
from campaign.domain.plan import Hours, Plan, Window
from campaign.domain.states import AttemptState, TargetState
from campaign.services.dialing import Dialer
from campaign.services.why import why
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, dial_once, numbers, outside

[A] = numbers(1)
CLOSES = datetime.fromisoformat("2026-11-20T18:00Z").timestamp()
OFFICE = Plan(hours=Hours(zone="UTC", windows=(Window.model_validate({"from": "09:00", "to": "18:00"}),)))
QUEUES = LINE.model_copy(update={"queue_margin": 300.0})
DELEGATES = LINE.model_copy(update={"provider": "mobtexting", "options": {"provider_retry_interval": 15}})


def dial(store: Store, line: Line, side: Any = None) -> list[str]:
    provider = ScriptedProvider()
    asyncio.run(dial_once(Dialer(line, provider, side or outside(store))))
    return [phone for _, phone in provider.rung]


def go_to(clock: FakeClock, moment: float) -> None:
    clock.advance(moment - clock.now())


@pytest.mark.parametrize(("line", "before", "rings"), [
    (LINE, 31.0, True), (LINE, 29.0, False),
    (QUEUES, 301.0, True), (QUEUES, 299.0, False),
    (LINE.model_copy(update={"provider": "pathors"}), 301.0, True),
    (LINE.model_copy(update={"provider": "pathors"}), 299.0, False),
    (LINE.model_copy(update={"provider": "nexbro", "timeout": 90.0}), 101.0, True),
    (LINE.model_copy(update={"provider": "nexbro", "timeout": 90.0}), 99.0, False),
    (QUEUES.model_copy(update={"queue_margin": 0.0}), 0.5, True),
    (DELEGATES, 8 * 3600.0, False),
    (DELEGATES.model_copy(update={"queue_margin": 7200.0}), 7201.0, True),
    (DELEGATES.model_copy(update={"queue_margin": 7200.0}), 7199.0, False),
], ids=lambda value: value if isinstance(value, (float, bool)) else value.provider)  # fmt: skip
def test_the_last_call_leaves_as_long_before_closing_as_its_provider_may_hold_it(
    store: Store, clock: FakeClock, line: Line, before: float, rings: bool
) -> None:
    # Given a number that is due, so long before closing
    go_to(clock, CLOSES - before)
    add_campaign(store, [A], plan=OFFICE)
    # When the line is dialled, Then it rings or waits for the next window
    assert dial(store, line) == ([A] if rings else [])


def test_the_margin_is_asked_again_at_the_last_moment(store: Store, clock: FakeClock) -> None:
    # Given a call that was claimed before the margin, and is held up until it is in it
    go_to(clock, CLOSES - 310.0)
    add_campaign(store, [A], plan=OFFICE)
    side = outside(store)
    work = side.in_thread

    async def in_thread(step: Any, *arguments: Any) -> Any:
        if step.__name__ == "confirm":
            clock.advance(15.0)
        return await work(step, *arguments)

    side.in_thread = in_thread
    # When its moment comes, Then it is given back and waits for the morning
    assert dial(store, QUEUES, side) == []
    with store.read() as connection:
        [attempt] = connection.execute(select(attempts)).all()
        [target] = connection.execute(select(targets)).all()
    assert attempt.state == AttemptState.RELEASED
    assert (target.state, target.attempts) == (TargetState.WAITING, 0)
    assert target.due_at == CLOSES + 15 * 3600.0


def test_why_says_when_and_why_so_early(store: Store, clock: FakeClock) -> None:
    go_to(clock, CLOSES - 240.0)
    add_campaign(store, [A], plan=OFFICE)
    dial(store, QUEUES)
    told = "outside calling hours: closes at 18:00 UTC, stops 5m before because the line may queue"
    assert f"1 target is waiting: {told}; the first from 2026-11-21T09:00:00Z" in why(store, "recall")
    assert any(told in sentence for sentence in why(store, "recall", A))


def test_why_says_what_a_line_lacks_whose_provider_dials_again_by_itself(store: Store, clock: FakeClock) -> None:
    go_to(clock, CLOSES - 3600.0)
    add_campaign(store, [A], plan=OFFICE)
    dial(store, DELEGATES)
    assert any("nobody knows for how long; give the line a queue_margin" in s for s in why(store, "recall"))
    # And a campaign without hours is not touched
    add_campaign(store, numbers(2)[1:], name="any time")
    assert dial(store, DELEGATES) == numbers(2)[1:]
