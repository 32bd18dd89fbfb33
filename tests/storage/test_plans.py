"""What runs for every call must not read all calls: how SQLite, which knows nothing of the data, finds the rows."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Pace, Plan
from campaign.domain.verdicts import unconfirmed
from campaign.services.dialing import Dialer
from campaign.services.settling import Settler
from campaign.services.ticking import tick
from campaign.services.tracking import Tracker
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import ensure_schema
from tests.clock import FakeClock
from tests.engine import LINE, add_campaign, dial_once, numbers, outside
from tests.services.test_looking import RULES, Answering

SELECTIVE = {
    "id", "rowid", "phone", "target_id", "attempt_id", "call_id", "our_ref", "due_at", "lease_until", "next_look_at",
}  # fmt: skip
"""Columns that by themselves find a few rows."""

SOON_THERE = ("ORDER BY attempts.id DESC\n LIMIT", "EXISTS (SELECT *", "SELECT targets.id \nFROM targets")
"""Statements that walk back from the newest attempt, or ask whether any target is left: a few rows are enough."""

FEW = (
    "ix_attempts_live",
    "ix_attempts_leases",
    "ix_attempts_looks",
    "one_live_attempt_per_number",
    "ix_targets_unsure",
)
"""Indexes that hold only what is going on."""


@pytest.fixture
def file_store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'plans.sqlite'}", clock)
    ensure_schema(store)
    yield store
    store.close()


def test_no_statement_of_a_call_reads_all_attempts_or_all_targets(file_store: Store, clock: FakeClock) -> None:
    store = file_store
    plans: dict[str, list[str]] = {}

    @event.listens_for(store.engine, "before_cursor_execute")
    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement not in plans and statement.startswith(("SELECT", "UPDATE", "DELETE")):
            one = parameters[0] if many else parameters
            plans[statement] = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", one).fetchall()]

    # Given a campaign with a limit of its own, some of whose calls end, and some of which raise doubts
    add_campaign(store, numbers(40), plan=Plan(retry={Disposition.BUSY: (1.0,)}, pace=Pace(max_in_flight=30)))
    # When it is dialled, polled, settled and ticked
    asyncio.run(_all_that_happens_to_a_call(store, clock))
    # Then nothing of it takes longer the more calls there have been
    assert len(plans) > 25
    slow = {statement: steps for statement, steps in plans.items() if any(map(_grows, steps))}
    assert [statement for statement in slow if not any(words in statement for words in SOON_THERE)] == []


async def _all_that_happens_to_a_call(store: Store, clock: FakeClock) -> None:
    here, people = outside(store, RULES), numbers(40)
    provider: Any = Answering({phone: [unconfirmed("cut off")] for phone in people[:5]})
    provider.ends = {phone: CallReport(ReportStatus.FINAL, disposition=Disposition.BUSY) for phone in people[5:20]}
    provider.findings = [Finding(FindingKind.ABSENT, 1e12)] * 20
    await dial_once(Dialer(LINE, provider, here))
    for _ in range(3):
        clock.advance(400.0)
        await Tracker(LINE, provider, here).run(0.5)
        await Settler(LINE, provider, here).run(0.5)
        await here.recorder.drained()
        tick(store, here.rules)
    await dial_once(Dialer(LINE, provider, here))


def _grows(step: str) -> bool:
    if not step.startswith(("SCAN attempts", "SCAN targets", "SEARCH attempts", "SEARCH targets")):
        return False
    found_by = set(re.findall(r"(\w+)[=<>]", step))
    return not any(index in step for index in FEW) and not found_by & SELECTIVE
