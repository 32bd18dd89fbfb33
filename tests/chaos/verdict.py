"""The provider's ledger against our rows: was anybody rung twice for one intent, forgotten, or told of wrongly?

The ledger knows every call that was placed. Our rows claim to know which attempts were real, how each ended and why a
number was rung again. Every difference is a violation, with the number's whole history beside it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import select

from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, TargetState
from campaign.providers.simulator.ledger import CallRecord, LedgerReport
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, events, targets

FINAL = (TargetState.DONE, TargetState.SKIPPED, TargetState.HELD)
SHOWN = 5


@dataclass(slots=True)
class Verdict:
    """Lists of (number, what is wrong). ``settled`` says how doubts ended; ``settle_times`` in seconds, sorted."""

    duplicates: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    rings: int = 0
    counted: int = 0
    doubts: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    settle_times: list[float] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    histories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not (self.duplicates or self.lost or self.wrong) and self.rings == self.counted

    def evidence(self) -> str:
        lines = [f"rings {self.rings}, attempts counted {self.counted}"]
        for name in ("duplicates", "lost", "wrong"):
            found: list[tuple[str, str]] = getattr(self, name)
            lines.append(f"{name}: {len(found)}")
            for phone, what in found[:SHOWN]:
                lines += [f"  {phone}: {what}", *(f"    {step}" for step in self.histories.get(phone, ()))]
        return "\n".join(lines)


def judge(store: Store, ledger: LedgerReport, retried: Sequence[Disposition] = ()) -> Verdict:
    """``ledger`` was asked for with its calls. ``retried`` are the dispositions after which the plan may ring again."""
    assert ledger.calls is not None
    with store.read() as connection:
        rows = [dict(row) for row in connection.execute(select(attempts).order_by(attempts.c.id)).mappings()]
        people = [dict(row) for row in connection.execute(select(targets).order_by(targets.c.id)).mappings()]
        notes = [dict(row) for row in connection.execute(select(events).order_by(events.c.id)).mappings()]
    verdict = Verdict(rings=len(ledger.calls), counted=sum(row["counted"] for row in rows))
    calls, tries = _by_number(ledger.calls), defaultdict(list)
    for row in rows:
        tries[row["phone"]].append(row)
    for target in people:
        phone = target["phone"]
        _judge_number(verdict, phone, target, tries[phone], calls.pop(phone, []), retried)
    for phone in calls:
        verdict.duplicates.append((phone, "rung, and in no campaign"))
    _judge_doubts(verdict, rows, notes)
    for phone in {phone for phone, _ in [*verdict.duplicates, *verdict.lost, *verdict.wrong]}:
        verdict.histories[phone] = _history(phone, people, tries[phone], ledger.calls, notes)
    return verdict


def _by_number(calls: Sequence[CallRecord]) -> dict[str, list[CallRecord]]:
    found: dict[str, list[CallRecord]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.accepted_at):
        found[call.number].append(call)
    return found


def _judge_number(
    verdict: Verdict,
    phone: str,
    target: dict[str, Any],
    tries: list[dict[str, Any]],
    calls: list[CallRecord],
    retried: Sequence[Disposition],
) -> None:
    real = [row for row in tries if row["counted"]]
    if target["state"] not in FINAL:
        verdict.lost.append((phone, f"the target is still {target['state']}"))
    if target["state"] == TargetState.HELD:
        verdict.held[str(target["reason"])[:60]] += 1
    elif not calls and target["state"] == TargetState.DONE and target["disposition"] != Disposition.INVALID_NUMBER:
        verdict.lost.append((phone, "never rung, and done"))
    _judge_repeats(verdict, phone, calls, retried)
    owned = _owned(real, calls)
    for call in calls:
        row = owned.get(call.id)
        if row is None:
            verdict.duplicates.append((phone, f"call {call.nth} belongs to no attempt that counts"))
        elif row["disposition"] != call.reads_as:
            verdict.wrong.append((phone, f"call {call.nth} ended {call.reads_as}, attempt says {row['disposition']}"))
    if len(real) > len(calls):
        verdict.wrong.append((phone, f"{len(real)} attempts counted, {len(calls)} rings"))
    if target["attempts"] != len(real):
        verdict.wrong.append((phone, f"the target counts {target['attempts']} attempts, its rows {len(real)}"))
    if calls and target["state"] == TargetState.DONE and target["disposition"] != calls[-1].reads_as:
        verdict.wrong.append((phone, f"last call ended {calls[-1].reads_as}, target says {target['disposition']}"))


def _judge_repeats(verdict: Verdict, phone: str, calls: list[CallRecord], retried: Sequence[Disposition]) -> None:
    """A second ring is only right after an end that the plan retries, and after the first has ended."""
    for first, second in pairwise(calls):
        if first.reads_as not in retried:
            verdict.duplicates.append((phone, f"rung again after {first.reads_as}"))
        elif second.accepted_at < first.ends_at:
            verdict.duplicates.append((phone, "rung again while the first call was going on"))
        elif second.ref is not None and first.ref == second.ref:
            verdict.duplicates.append((phone, "one attempt was placed twice"))


def _owned(real: list[dict[str, Any]], calls: list[CallRecord]) -> dict[str, dict[str, Any]]:
    """Attempt by the id of the call that is its own: by our id where the provider takes one, else by its id."""
    by_ref = {row["our_ref"]: row for row in real}
    by_id = {row["call_id"]: row for row in real if row["call_id"]}
    found = {call.id: by_ref.get(call.ref or "") or by_id.get(call.id) for call in calls}
    if any(call.ref for call in calls) or len(real) != len(calls):
        return {call_id: row for call_id, row in found.items() if row is not None}
    # Neither id travels through this dialect's calls: the first attempt is the first call.
    return {call.id: found[call.id] or row for call, row in zip(calls, real, strict=True)}


def _judge_doubts(verdict: Verdict, rows: list[dict[str, Any]], notes: list[dict[str, Any]]) -> None:
    raised = {note["attempt_id"]: note["at"] for note in notes if note["kind"] == "doubt"}
    ended = {n["attempt_id"]: n for n in notes if n["kind"] in ("doubt_found", "doubt_absent", "gave_up")}
    by_id = {row["id"]: row for row in rows}
    verdict.doubts = len(raised)
    for attempt_id, at in raised.items():
        note = ended.get(attempt_id)
        if note is not None:
            kind, until = (
                {"doubt_found": "found", "doubt_absent": "proved absent", "gave_up": "held"}[note["kind"]],
                note["at"],
            )
        elif by_id[attempt_id]["state"] == AttemptState.UNCONFIRMED:
            verdict.settled["open"] += 1
            continue
        else:
            kind, until = "late answer", by_id[attempt_id]["placed_at"] or at
        verdict.settled[kind] += 1
        verdict.settle_times.append(max(0.0, until - at))
    verdict.settle_times.sort()


def _history(
    phone: str,
    people: list[dict[str, Any]],
    tries: list[dict[str, Any]],
    calls: Sequence[CallRecord],
    notes: list[dict[str, Any]],
) -> list[str]:
    steps: list[tuple[float, str]] = []
    ids = {row["id"] for row in tries}
    for row in tries:
        words = ("state", "token", "counted", "disposition", "verdict", "raw", "reason", "our_ref", "call_id", "looks")
        said = " ".join(f"{word}={row[word]}" for word in words)
        steps.append((row["claimed_at"], f"attempt {row['id']} claimed; now {said}"))
        for word in ("sent_at", "placed_at", "ended_at"):
            if row[word] is not None:
                steps.append((row[word], f"attempt {row['id']} {word}"))
    for call in calls:
        if call.number == phone:
            steps.append((call.accepted_at, f"RING {call.id} ref={call.ref} outcome={call.reads_as}"))
    steps += [(n["at"], f"event {n['kind']} attempt {n['attempt_id']}") for n in notes if n["attempt_id"] in ids]
    lines = [f"{at:.3f} {what}" for at, what in sorted(steps)]
    return lines + [f"target {t['state']} {t['disposition']} {t['reason']}" for t in people if t["phone"] == phone]


def spread(times: list[float]) -> str:
    """Of times in seconds, sorted."""
    if not times:
        return "-"
    at = {name: times[min(int(len(times) * share), len(times) - 1)] for name, share in (("p50", 0.5), ("p95", 0.95))}
    return ", ".join(f"{name} {value:.1f} s" for name, value in {**at, "max": times[-1]}.items())
