"""The same question about one number: where its target stands, what its attempts met, who else holds it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from campaign.domain.durations import format_duration
from campaign.domain.erasure import ErasureKey
from campaign.domain.instants import format_instant
from campaign.domain.states import LIVE_ATTEMPT_STATES, AttemptState, TargetState
from campaign.storage import dnc, erasures, results, targets
from campaign.storage.engine import Connection, RowMapping

MOST_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """``attempts`` are those of every campaign, the oldest first."""

    now: float
    campaign_id: int
    target: RowMapping | None
    attempts: Sequence[RowMapping]
    listed: RowMapping | None
    erased: RowMapping | None = None

    @property
    def is_due(self) -> bool:
        return self.target is not None and self.target["state"] == TargetState.WAITING and self._due_at <= self.now

    @property
    def _due_at(self) -> float:
        return float(self.target["due_at"] or 0.0) if self.target is not None else 0.0


def facts_of_number(
    connection: Connection, campaign_id: int, phone: str, now: float, key: ErasureKey | None = None
) -> NumberFacts:
    erased = erasures.find(connection, key.digest(phone)) if key is not None else None
    if erased is not None and key is not None and targets.of_number(connection, phone, campaign_id) is None:
        phone = key.digest(phone)  # its rows stand under that now
    return NumberFacts(
        now,
        campaign_id,
        targets.of_number(connection, phone, campaign_id),
        results.attempts_of_number(connection, phone, None),
        dnc.find(connection, phone),
        erased,
    )


def sentences_of_number(n: NumberFacts) -> Iterator[str]:
    yield from _target(n)
    if n.erased is not None:
        done = n.erased["erased_at"]
        then = "" if done is not None else "; what is kept goes when its calls have ended and its uploads are read"
        yield f"its person was erased on request of {format_instant(n.erased['requested_at'])}{then}"
    if n.listed is not None:
        because = f" ({n.listed['reason']})" if n.listed["reason"] else ""
        yield f"it is on the do-not-call list since {format_instant(n.listed['added_at'])}{because}"
    for attempt in n.attempts:
        if attempt["campaign_id"] != n.campaign_id and attempt["state"] in LIVE_ATTEMPT_STATES:
            yield f"a call to it is live in campaign {attempt['campaign']!r}, through line {attempt['line']!r}"
    mine = [attempt for attempt in n.attempts if attempt["campaign_id"] == n.campaign_id]
    if len(mine) > MOST_ATTEMPTS:
        yield f"{len(mine) - MOST_ATTEMPTS} earlier attempts are left out; `campaign attempts` shows all"
    for number, attempt in list(enumerate(mine, start=1))[-MOST_ATTEMPTS:]:
        yield f"attempt {number}: {_attempt(attempt)}"


def _target(n: NumberFacts) -> Iterator[str]:
    target = n.target
    if target is None:
        yield "the number is not in this campaign; was its row rejected (`campaign rejects`), or written differently?"
        return
    because = f": {target['reason']}" if target["reason"] else ""
    match TargetState(target["state"]):
        case TargetState.WAITING if n.is_due:
            yield f"it is due since {format_instant(target['due_at'])}{because}"
        case TargetState.WAITING:
            wait = format_duration(round(target["due_at"] - n.now))
            yield f"it waits until {format_instant(target['due_at'])} (in {wait}){because}"
        case TargetState.CALLING:
            yield f"it is being called{because}"
        case TargetState.HELD:
            yield f"it is held for a person to decide{because}"
        case TargetState.DONE:
            yield f"it is done, {target['disposition']}, after {_times(target['attempts'])}{because}"
        case TargetState.SKIPPED:
            yield f"it will not be called{because}"


def _attempt(a: RowMapping) -> str:
    told = [f"{_began(a)} through line {a['line']!r}", _stands(a)]
    if a["raw"]:
        told.append(f"the provider said {a['raw']!r}")
    if a["reason"]:
        told.append(a["reason"])
    if not a["counted"] and a["state"] not in LIVE_ATTEMPT_STATES:
        told.append("not counted")
    return ", ".join(told)


def _began(a: RowMapping) -> str:
    return f"sent {format_instant(a['sent_at'])}" if a["sent_at"] else f"claimed {format_instant(a['claimed_at'])}"


def _stands(a: RowMapping) -> str:
    look = f"; the next look is at {format_instant(a['next_look_at'])}" if a["next_look_at"] else ""
    match AttemptState(a["state"]):
        case AttemptState.CLAIMED:
            return "a worker holds it and nothing has left"
        case AttemptState.SENDING:
            return "its request is out"
        case AttemptState.PLACED:
            return f"placed, its result is awaited{look}"
        case AttemptState.UNCONFIRMED:
            return f"unconfirmed{look}; it ends unknown at {format_instant(a['give_up_at'])}"
        case AttemptState.ENDED | AttemptState.REFUSED:
            return f"{a['state']} {a['disposition'] or a['verdict'] or ''}".strip()
        case AttemptState.RELEASED:
            return "given back before anything left"
        case AttemptState.NOT_PLACED:
            return "never placed"


def _times(attempts: int) -> str:
    return f"{attempts} attempt{'' if attempts == 1 else 's'}"
