"""An engine in one process for tests: a real store, a scripted provider, and the pace's pure twin for a throttle."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from sqlalchemy import insert

from campaign.domain.calls import OutboundCall
from campaign.domain.line import Line, PollSchedule
from campaign.domain.pace import Correction, Reservation, Room, StartTime, Want
from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState, TargetState
from campaign.domain.verdicts import Verdict, placed
from campaign.policies.looking import LookRules
from campaign.policies.pacing import SECOND
from campaign.policies.reserving import Books, Grant, Row, reserve
from campaign.services.dialing import Dialer
from campaign.services.outside import Outside
from campaign.services.recorder import Recorder
from campaign.storage.engine import Store, SystemClock
from campaign.storage.schema import campaigns, targets

LINE = Line(
    name="one",
    provider="sandbox",
    base_url="http://127.0.0.1:1",
    calls_per_second=1000.0,
    max_in_flight=100_000,
    poll=PollSchedule(first_after=0.0, every=1.0, give_up_after=600.0),
)


_refs = count(1)


class LocalThrottle:
    """The pure reservation over this process's clock."""

    def __init__(self) -> None:
        self.books: dict[str, Books] = {}

    async def room(self, line: str, calls_per_second: float) -> Room:
        grant, now = self._asked(line, calls_per_second, [Want("room", 1000)])
        return Room(len(grant.times), now / SECOND if grant.retry_at is None else grant.retry_at / SECOND)

    async def reserve(
        self, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
    ) -> Reservation:
        grant, _ = self._asked(line, calls_per_second, wants, corrections)
        self.books[line] = grant.books
        starts = tuple(StartTime(want, at / SECOND, at, wants[want].own) for want, at in grant.times)
        return Reservation(starts, None if grant.retry_at is None else grant.retry_at / SECOND)

    def _asked(
        self, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
    ) -> tuple[Grant, int]:
        now = round(SystemClock().monotonic() * SECOND)
        books = self.books.setdefault(line, Books({line: Row(now)}))
        return reserve(books, line, calls_per_second, wants, now, corrections), now


class ScriptedProvider:
    """Answers by phone number, `placed` where the script says nothing; remembers who was rung and when."""

    def __init__(self, script: Mapping[str, Sequence[Verdict]] | None = None) -> None:
        self.script = {phone: list(verdicts) for phone, verdicts in (script or {}).items()}
        self.rung: list[tuple[float, str]] = []
        self._ids = count(1)

    async def originate(self, call: OutboundCall) -> Verdict:
        self.rung.append((SystemClock().monotonic(), call.phone))
        await asyncio.sleep(0)
        verdicts = self.script.get(call.phone)
        return verdicts.pop(0) if verdicts else placed(f"call-{next(self._ids)}")


def add_campaign(
    store: Store, phones: Sequence[str], *, name: str = "recall", line: str = "one", plan: Plan | None = None
) -> int:
    """A running campaign with these numbers due at once; returns its id."""
    body = (plan or Plan()).model_dump(mode="json", by_alias=True)
    with store.write() as connection:
        now = store.now(connection)
        row = {"name": name, "state": CampaignState.RUNNING, "line": line, "plan": body, "created_at": now}
        campaign_id = connection.execute(insert(campaigns).returning(campaigns.c.id), [row]).scalar_one()
        base = {"campaign_id": campaign_id, "variables": {}, "state": TargetState.WAITING, "due_at": now, "tally": {}}
        if phones:
            connection.execute(
                insert(targets), [{**base, "phone": phone, "row_no": i} for i, phone in enumerate(phones)]
            )
    return int(campaign_id)


def numbers(how_many: int) -> list[str]:
    """Fictitious North American numbers, one each."""
    return [f"+1202555{i:04d}" if i < 10_000 else f"+1{2010000000 + i}" for i in range(how_many)]


def outside(store: Store, rules: Mapping[str, LookRules] | None = None, **changes: Any) -> Outside:
    rules = rules or {LINE.name: LookRules(poll=LINE.poll)}

    async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(work, *arguments)

    values: dict[str, Any] = {
        "store": store,
        "throttle": LocalThrottle(),
        "clock": SystemClock(),
        "recorder": Recorder(store, rules, in_thread),
        "rules": rules,
        "new_ref": lambda: f"{next(_refs):032x}",
        "in_thread": in_thread,
        "stopping": lambda: False,
    }
    return Outside(**{**values, **changes})


PLENTY = 30.0
"""Seconds of an order that ends by itself when nothing is due, also on a machine that stands still for some of them."""


async def dial_once(dialer: Dialer, seconds: float = PLENTY) -> None:
    """One order, waited for until nothing is in the air and everything is recorded."""
    await dialer.run(seconds)
    await dialer.drained()
    await dialer.outside.recorder.drained()
