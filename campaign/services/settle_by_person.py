"""What only a person can decide: targets that are held, and attempts that nobody could confirm yet.

The person's word is final as a result is. ``retry`` and ``not_placed`` make the number wait again, so it may ring a
second time: whoever says so, signs for it, and the journal keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from campaign.domain.dispositions import Disposition
from campaign.domain.errors import NotPossible, UsageFault
from campaign.domain.states import AttemptState, CampaignState, TargetState
from campaign.services.campaigns import found, held_in_words
from campaign.storage import campaigns, events, held
from campaign.storage.engine import Connection, Store

RETRY = "retry"
NOT_PLACED = "not_placed"
DECISIONS: tuple[str, ...] = (*(str(word) for word in Disposition), RETRY, NOT_PLACED)
"""A disposition: done, so. ``retry``: that attempt counts, try again. ``not_placed``: it was none, try again."""

_CHUNK = 500
_WHY = "decided by a person"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing to decide. ``state`` is ``held`` or ``unconfirmed``; an unconfirmed one is still being looked for,
    next at ``next_look_at``, until ``give_up_at``. Times are epoch seconds."""

    phone: str = field(repr=False)
    state: str
    reason: str | None
    attempts: int
    line: str | None
    sent_at: float | None
    call_id: str | None
    next_look_at: float | None = None
    give_up_at: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """How many were decided, and how many of the numbers named had nothing to decide."""

    held: int
    unconfirmed: int
    untouched: int = 0


def to_settle(store: Store, name: str, limit: int = 1000) -> list[Doubt]:
    """What a person could decide now, held targets first."""
    with store.read() as connection:
        campaign_id = found(connection, name)["id"]
        rows = held.held(connection, campaign_id, limit)
        doubts = [_doubt(row, TargetState.HELD) for row in rows]
        rest = held.unconfirmed(connection, campaign_id, limit - len(doubts))
        return doubts + [_doubt(row, AttemptState.UNCONFIRMED) for row in rest]


def settle(
    store: Store, name: str, decision: str, phones: Sequence[str] | None = None, *, unconfirmed: bool = False
) -> Settled:
    """Decide for every held target of the campaign, or for ``phones`` (E.164) only; in one transaction.

    ``unconfirmed`` also ends the search for attempts that are still being looked for. Raises UsageFault, NotFound, and
    NotPossible where a canceled campaign should try again.
    """
    if decision not in DECISIONS:
        raise UsageFault(f"--as {decision!r}: not a decision; these are {', '.join(DECISIONS)}")
    with store.write() as connection:
        campaign = found(connection, name, lock=True)
        again = decision in (RETRY, NOT_PLACED)
        if again and campaign["state"] == CampaignState.CANCELED:
            raise NotPossible(f"campaign {name!r} was canceled for good; settle its numbers as a disposition")
        now = store.now(connection)
        settled = _settle_all(connection, campaign["id"], decision, phones, unconfirmed, now)
        if again and settled.held + settled.unconfirmed:
            campaigns.wake(connection, campaign["id"])
        elif campaign["state"] == CampaignState.COMPLETED:
            left = held_in_words(campaigns.held_in(connection, campaign["id"]))
            campaigns.move(connection, campaign["id"], [CampaignState.COMPLETED], CampaignState.COMPLETED, why=left)
        detail = {"as": decision, "held": settled.held, "unconfirmed": settled.unconfirmed}
        events.record(connection, now, "settled", campaign_id=campaign["id"], detail=detail)
        return settled


def _settle_all(
    connection: Connection, campaign_id: int, decision: str, phones: Sequence[str] | None, unconfirmed: bool, now: float
) -> Settled:
    chunks: Sequence[Sequence[str] | None] = [None] if phones is None else _chunks(list(dict.fromkeys(phones)))
    of_held = sum(_settle_held(connection, campaign_id, decision, chunk, now) for chunk in chunks)
    of_unconfirmed = 0
    if unconfirmed:
        of_unconfirmed = sum(_settle_unconfirmed(connection, campaign_id, decision, chunk, now) for chunk in chunks)
    asked = len(set(phones)) if phones is not None else 0
    return Settled(of_held, of_unconfirmed, max(asked - of_held - of_unconfirmed, 0))


def _settle_held(
    connection: Connection, campaign_id: int, decision: str, phones: Sequence[str] | None, now: float
) -> int:
    if decision != RETRY:
        held.decide_unknown(connection, campaign_id, phones, _attempt_values(decision, now))
    forgotten = {"disposition": held.WITHOUT_UNKNOWN} if decision == NOT_PLACED else {}
    return held.release_held(connection, campaign_id, phones, {**_target_values(decision, now), **forgotten})


def _settle_unconfirmed(
    connection: Connection, campaign_id: int, decision: str, phones: Sequence[str] | None, now: float
) -> int:
    values = {"state": AttemptState.ENDED, "ended_at": now, **_attempt_values(decision, now)}
    ids = held.decide_unconfirmed(connection, campaign_id, phones, values)
    # `unknown` beside a counted attempt: a true result that comes late finds its target by it and stops the retry.
    doubted = {"disposition": Disposition.UNKNOWN} if decision == RETRY else {}
    for some in _chunks(ids):
        held.release_calling(connection, some, {**_target_values(decision, now), **doubted})
    return len(ids)


def _attempt_values(decision: str, now: float) -> dict[str, Any]:
    if decision == NOT_PLACED:
        placed_nothing = {"state": AttemptState.NOT_PLACED, "disposition": None, "counted": False}
        return {**placed_nothing, "ended_at": now, "reason": _WHY}
    word = Disposition.UNKNOWN if decision == RETRY else Disposition(decision)
    return {"disposition": word, "counted": True, "reason": _WHY}


def _target_values(decision: str, now: float) -> dict[str, Any]:
    if decision in (RETRY, NOT_PLACED):
        return {"state": TargetState.WAITING, "due_at": now, "ended_at": None, "reason": f"{_WHY}: {decision}"}
    done = {"state": TargetState.DONE, "due_at": None, "ended_at": now}
    return {**done, "disposition": Disposition(decision), "reason": _WHY}


def _chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


def _doubt(row: Mapping[Any, Any], state: str) -> Doubt:
    looked_for = state == AttemptState.UNCONFIRMED
    return Doubt(
        row["phone"],
        str(state),
        row["reason"],
        row["attempts"],
        row["line"],
        row["sent_at"],
        row["call_id"],
        row["next_look_at"] if looked_for else None,
        row["give_up_at"] if looked_for else None,
    )
