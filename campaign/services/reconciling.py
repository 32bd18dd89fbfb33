"""After a restore: every number that may have been called meanwhile is looked for before it is dialled again.

A target whose calls may be lost is marked. A marked target is not claimed; when it is due, an unconfirmed attempt
stands for whatever call it may have had, and settling decides as it does for every lost answer.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from campaign.domain.errors import NotPossible
from campaign.domain.instants import format_instant
from campaign.domain.restores import Standing
from campaign.policies import restoring as policy
from campaign.policies.gates import LIVE_ELSEWHERE
from campaign.policies.looking import LookRules
from campaign.services.restoring import standing_of
from campaign.storage import attempt_rows, claims, dispatch_rows, events
from campaign.storage.dispatch_rows import UnsureTarget
from campaign.storage.engine import Connection, Store

log = logging.getLogger(__name__)

BATCH = 500
BATCHES = 10
"""Of targets that one tick gives to the search."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a restore may have lost: calls from ``since`` to ``until``, to any number; ``waiting`` is how many numbers
    of running campaigns wait, by line. ``locked`` says that dispatch is, because of ``why``."""

    since: float
    until: float
    waiting: Mapping[str, int]
    locked: bool
    why: str | None
    asked: bool


def loss(store: Store, since: float | None = None) -> Loss:
    """What :func:`reconcile` would look for. ``since`` is a person's word for when the backup was made."""
    with store.read() as connection:
        return _loss(connection, since, store.now(connection))


def _loss(connection: Connection, since: float | None, now: float) -> Loss:
    standing = dispatch_rows.read(connection) or Standing("")
    until = standing.locked_at if standing.locked_at is not None else now
    if since is None:
        bound = standing.lost_at if standing.lost_at is not None else until
        since = dispatch_rows.last_known(connection, bound)
    waiting = dispatch_rows.waiting_by_line(connection)
    locked = standing.locked_at is not None
    return Loss(since, until, waiting, locked, standing.why, standing.asked_at is not None)


def reconcile(store: Store, database_id: str, since: float | None = None) -> Loss:
    """From now on no target is claimed before the calls that may be lost have been looked for: the ticks see to it, and
    open dispatch when all that are due are being looked for. Safe to repeat.

    Without a lock it takes ``since``, for a restore that nobody noticed. Raises NotPossible.
    """
    standing_of(store, database_id)
    with store.write() as connection:
        standing = dispatch_rows.read(connection, lock=True)
        now = store.now(connection)
        if since is None and (standing is None or standing.locked_at is None):
            raise NotPossible(
                "dispatch is not locked; after a restore that was not noticed, say --since TIME_OF_BACKUP"
            )
        found = _loss(connection, since, now)
        if found.since > found.until:
            raise NotPossible(f"{format_instant(found.since)} is later than {format_instant(found.until)}")
        dispatch_rows.lock_targets(connection)
        count = dispatch_rows.mark_all(connection, found.since)
        dispatch_rows.leave_a_gap(connection)
        dispatch_rows.set_asked(connection, now, found.until)
        detail = {"since": found.since, "until": found.until, "targets": count}
        events.record(connection, now, "reconcile_asked", detail=detail)
        return found


def raise_doubts(store: Store, rules: Mapping[str, LookRules]) -> int:
    """Give due targets whose calls may be lost to the search; those for which it has ended may be claimed.

    Opens dispatch when all of them are there. Returns how many doubts were raised; any number may run at once.
    """
    with store.read() as connection:
        standing, now = dispatch_rows.read(connection), store.now(connection)
        work = dispatch_rows.some_unsure(connection, now)
    if standing is None or not (work or standing.asked_at) or (standing.locked_at and not standing.asked_at):
        return 0
    raised = 0
    for _ in range(BATCHES):
        met, doubts = _raise_some(store, rules, standing)
        raised += doubts
        if met < BATCH:
            if standing.asked_at is not None:
                _open(store, standing)
            break
    return raised


def _raise_some(store: Store, rules: Mapping[str, LookRules], standing: Standing) -> tuple[int, int]:
    """How many targets were met, and how many of them are looked for from now on."""
    with store.write() as connection:
        now = store.now(connection)
        unsure = dispatch_rows.unsure_due(connection, now, BATCH)
        latest = dispatch_rows.latest_attempts(connection, [target.id for target in unsure])
        sure = {i for i, a in latest.items() if policy.may_be_claimed(a.state, a.disposition, a.lost_until)}
        dispatch_rows.make_sure(connection, sorted(sure))
        doubtful = sorted((t for t in unsure if t.id not in sure), key=lambda target: target.phone)
        until = standing.lost_until if standing.lost_until is not None else now
        ids = dispatch_rows.insert_lost(connection, [_doubt(t, rules, until, now) for t in doubtful])
        claims.set_calling(connection, ids)
        live = [t for t in doubtful if t.id not in ids]
        later = now + LIVE_ELSEWHERE
        claims.postpone(connection, [(t.id, later, "another call to this number is live") for t in live])
        attempt_rows.write_events(connection, [_note(t, ids[t.id], now) for t in doubtful if t.id in ids])
        return len(unsure), len(ids)


_WHY = "a restored database may have lost a call to it"


def _doubt(target: UnsureTarget, rules: Mapping[str, LookRules], until: float, now: float) -> dict[str, object]:
    line_rules = rules.get(target.line) or LookRules(can_ask=False, can_find=False, can_find_by_number=False)
    next_look_at, give_up_at = policy.look_times(line_rules, until, now)
    return {
        "target_id": target.id,
        "campaign_id": target.campaign_id,
        "line": target.line,
        "phone": target.phone,
        "our_ref": f"{target.id:016x}{int(now * 1e6):016x}",  # one that nothing was ever sent under
        "claimed_at": now,
        "sent_at": target.unsure_since,
        "lost_until": until,
        "next_look_at": next_look_at,
        "give_up_at": give_up_at,
        "reason": _WHY,
    }


def _note(target: UnsureTarget, attempt_id: int, now: float) -> dict[str, object]:
    about = {"campaign_id": target.campaign_id, "attempt_id": attempt_id, "line": target.line}
    return {"at": now, "kind": "doubt", **about, "detail": {"reason": _WHY}}


def _open(store: Store, asked: Standing) -> None:
    with store.write() as connection:
        standing = dispatch_rows.read(connection, lock=True)
        if standing is None or standing.asked_at != asked.asked_at:
            return
        now = store.now(connection)
        dispatch_rows.set_open(connection, now)
        events.record(connection, now, "dispatch_opened")
        log.warning("what a restore may have lost is being looked for; dispatch is open again")
