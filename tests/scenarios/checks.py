"""A campaign's rows and its export against the simulator's ledger, number by number."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.states import TargetState
from campaign.providers.simulator.ledger import CallRecord
from campaign.services import results
from tests.scenarios.kit import Stage


def check(playing: Stage, name: str, account: str, plan: Plan, *, exported: bool = True) -> int:
    """Every number rang as often as its dispositions and the plan's rules say, no sooner, and we know how each call
    ended; how many calls that were. The campaign has completed."""
    targets, attempts = playing.rows(name)
    calls = calls_of(playing, account)
    ours = {target["phone"] for target in targets}
    assert set(calls) <= ours, "a number was rung that is in no campaign"
    for target in targets:
        rung = calls.get(target["phone"], [])
        tries = [row for row in attempts if row["target_id"] == target["id"] and row["counted"]]
        words = [str(call.reads_as) for call in rung]
        story = f"{name}: {target['state']} {target['disposition']} ({target['reason']}), calls {words}"
        assert target["state"] == TargetState.DONE, story
        if rung:
            assert target["disposition"] == expected(rung), story
            assert [row["disposition"] for row in tries] == words, story
            assert len(rung) == target["attempts"] == rings_allowed(rung, plan), story
            assert_spaced(rung, plan, 0.01 if rung[0].dialect == "sandbox" else 1.0, story)
        else:
            assert target["disposition"] == Disposition.INVALID_NUMBER, story
    if exported:
        check_export(playing, name, targets)
    return sum(map(len, calls.values()))


def calls_of(playing: Stage, account: str) -> dict[str, list[CallRecord]]:
    """An account's calls by number, in order."""
    found: dict[str, list[CallRecord]] = defaultdict(list)
    for call in playing.simulator.ledger("calls").calls or ():
        if call.account == account:
            found[call.number].append(call)
    return {number: sorted(calls, key=lambda call: call.accepted_at) for number, calls in found.items()}


def expected(rung: Sequence[CallRecord]) -> Disposition:
    return rung[-1].reads_as


def rings_allowed(rung: Sequence[CallRecord], plan: Plan) -> int:
    """How often a number must ring whose calls end as these did, by the plan alone."""
    tally: dict[Disposition, int] = defaultdict(int)
    for nth, call in enumerate(rung, 1):
        tally[call.reads_as] += 1
        if nth >= plan.max_attempts or tally[call.reads_as] > len(plan.retry.get(call.reads_as, ())):
            return nth
    return len(rung) + 1  # and again


def assert_spaced(rung: Sequence[CallRecord], plan: Plan, rounding: float, story: str) -> None:
    """The delay runs from the end of the call that failed, as told by the provider, most of whom round to seconds."""
    tally: dict[Disposition, int] = defaultdict(int)
    for first, second in pairwise(rung):
        delay = plan.retry[first.reads_as][tally[first.reads_as]]
        tally[first.reads_as] += 1
        assert second.accepted_at - first.ends_at > delay - rounding, story


def check_export(playing: Stage, name: str, targets: Sequence[dict[str, Any]]) -> None:
    rows = export_rows(playing, name)
    told = {row["phone"].lstrip("'"): (row["disposition"], row["attempts"]) for row in rows}
    assert len(rows) == len(targets)
    assert told == {t["phone"]: (t["disposition"] or "", str(t["attempts"])) for t in targets}
    assert all(row["last_attempt_at"] for row in rows if row["attempts"] != "0")


def export_rows(playing: Stage, name: str) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    results.export(playing.store, name, out)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
