"""Attempts and their targets: read under lock, written together. No decision is taken here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import itemgetter, ne
from typing import Any

from sqlalchemy import Connection, Row, Table, func, insert, select, update

from campaign.domain.calls import RememberedCall
from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import MARK
from campaign.domain.rows import Attempt, Target
from campaign.domain.states import AttemptState, TargetState
from campaign.domain.verdicts import VerdictKind
from campaign.storage.bulk import in_order, one_of, update_rows
from campaign.storage.newer_words import readable, words_of
from campaign.storage.schema import attempts, events, is_leased, is_live, is_looked_at, targets

_ATTEMPT = [attempts.c[name] for name in Attempt._fields]
_TARGET = [targets.c[name] for name in Target._fields]
_ATTEMPT_STATE, _ATTEMPT_DISPOSITION = Attempt._fields.index("state"), Attempt._fields.index("disposition")
_TARGET_STATE, _TARGET_DISPOSITION = Target._fields.index("state"), Target._fields.index("disposition")
_VERDICT = Attempt._fields.index("verdict")
_ATTEMPT_STATES, _TARGET_STATES = words_of(AttemptState), words_of(TargetState)
_DISPOSITIONS, _VERDICTS = words_of(Disposition), words_of(VerdictKind)
_KNOWN_TO_A_PROVIDER = (AttemptState.SENDING, AttemptState.PLACED, AttemptState.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class Pair:
    """An attempt and its target as one locked read saw them."""

    attempt: Attempt
    target: Target
    campaign_id: int
    line: str
    phone: str


def lock_pairs(connection: Connection, attempt_ids: Sequence[int]) -> dict[int, Pair]:
    """By attempt id, locked until the transaction ends. Ids that do not exist are absent, and rows that this version
    cannot read."""
    extra = [attempts.c.campaign_id, attempts.c.line, attempts.c.phone]
    query = select(*_ATTEMPT, *extra).where(one_of(connection, attempts.c.id, attempt_ids)).order_by(attempts.c.id)
    rows = readable(connection.execute(query.with_for_update()).all(), lambda row: (_attempt(row), *row[-3:]))
    wanted = sorted({attempt.target_id for attempt, *_ in rows})
    locked = select(*_TARGET).where(one_of(connection, targets.c.id, wanted)).order_by(targets.c.id).with_for_update()
    by_id = {target.id: target for target in readable(connection.execute(locked).all(), _target)}
    return {a.id: Pair(a, by_id[a.target_id], *others) for a, *others in rows if a.target_id in by_id}


@dataclass(frozen=True, slots=True)
class Hand:
    """Who holds an attempt, in which state; ``answered`` says that an earlier call to its target was, as is known by
    now."""

    token: int
    state: AttemptState
    answered: bool
    our_ref: str


def lock_hands(connection: Connection, attempt_ids: Sequence[int]) -> dict[int, Hand]:
    """By attempt id, locked until the transaction ends."""
    query = (
        select(attempts.c.id, attempts.c.token, attempts.c.state, targets.c.tally, attempts.c.our_ref)
        .join_from(attempts, targets, targets.c.id == attempts.c.target_id)
        .where(one_of(connection, attempts.c.id, attempt_ids))
        .order_by(attempts.c.id)
        .with_for_update(of=attempts)
    )
    hands = readable(
        connection.execute(query).all(),
        lambda row: (row[0], Hand(row[1], _ATTEMPT_STATES[row[2]], Disposition.ANSWERED in row[3], row[4])),
    )
    return dict(hands)


def write_attempts(connection: Connection, changes: Iterable[tuple[Attempt, Attempt]]) -> None:
    """What differs between (before, after) of rows that the caller has locked. Ended ones first: the live-number index
    is immediate."""
    told = list(changes)
    for ended in (True, False):
        some = [change for change in told if (change[1].ended_at is not None) == ended]
        _write(connection, attempts, Attempt._fields, some)


def write_targets(connection: Connection, changes: Iterable[tuple[Target, Target]]) -> None:
    """What differs between (before, after) of rows that the caller has locked."""
    _write(connection, targets, Target._fields, changes)


def _write(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    changes: Iterable[tuple[tuple[Any, ...], tuple[Any, ...]]],
) -> None:
    """One statement for all rows in which the same columns changed: the others' indexes are left alone."""
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for before, after in changes:
        which = tuple(compress(names, map(ne, after, before)))
        if which:
            alike.setdefault(which, []).append(after)
    for which, rows in alike.items():
        told = itemgetter(*(names.index(name) for name in which), names.index("id"))
        update_rows(connection, table, which, [told(row) for row in rows])


def write_events(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Rows of ``events``: at, kind, campaign_id, attempt_id, line, detail."""
    if rows:
        connection.execute(insert(events), rows)


def overdue_leases(connection: Connection, now: float, limit: int) -> list[int]:
    """Attempts whose holder is silent."""
    query = select(attempts.c.id).where(is_leased, attempts.c.lease_until <= now)
    return list(connection.execute(query.order_by(attempts.c.lease_until).limit(limit)).scalars())


def unanswered(connection: Connection) -> dict[str, int]:
    """By line, how many requests wait for the provider's answer, or are about to leave."""
    query = select(attempts.c.line, func.count()).where(is_leased, attempts.c.state == AttemptState.SENDING)
    return {line: count for line, count in connection.execute(query.group_by(attempts.c.line))}


def out_of_time(connection: Connection, now: float, limit: int) -> list[int]:
    """Placed and unconfirmed attempts whose ``give_up_at`` has come and that are due for a look."""
    query = select(attempts.c.id).where(is_looked_at, attempts.c.next_look_at <= now, attempts.c.give_up_at <= now)
    return list(connection.execute(query.limit(limit)).scalars())


def take_looks(
    connection: Connection, line: str, state: AttemptState, now: float, until: float, limit: int
) -> list[tuple[RememberedCall, int]]:
    """Attempts of a line to ask about now, with their tokens; ``next_look_at`` moves to ``until`` so that nobody else
    asks meanwhile (and somebody does if this worker dies)."""
    due = (
        select(attempts.c.id)
        .where(is_looked_at, attempts.c.line == line, attempts.c.state == state, attempts.c.next_look_at <= now)
        .where(attempts.c.give_up_at > now)
        .order_by(attempts.c.next_look_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if not ids:
        return []
    mine = one_of(connection, attempts.c.id, ids)
    connection.execute(update(attempts).where(mine).values(next_look_at=until))
    query = select(*_REMEMBERED, attempts.c.token).where(mine)
    taken = [(_remembered(row), row.token) for row in connection.execute(query)]
    others = _known_calls(connection, line, [call.phone for call, _ in taken if call.lost_until is not None])
    return [(replace(call, others=others.get(call.phone, frozenset())), token) for call, token in taken]


def _known_calls(connection: Connection, line: str, phones: Sequence[str]) -> dict[str, frozenset[str]]:
    """The provider's ids of calls to each number that are some attempt's."""
    if not phones:
        return {}
    known = attempts.c.phone.in_(phones) & attempts.c.call_id.is_not(None) & (attempts.c.line == line)
    found: dict[str, frozenset[str]] = {}
    for phone, call_id in connection.execute(select(attempts.c.phone, attempts.c.call_id).where(known)):
        found[phone] = found.get(phone, frozenset()) | {call_id}
    return found


def looks_due(connection: Connection, state: AttemptState, now: float) -> dict[str, int]:
    """Lines with attempts in ``state`` to ask about now, and how many."""
    query = (
        select(attempts.c.line, func.count())
        .where(is_looked_at, attempts.c.state == state, attempts.c.next_look_at <= now)
        .group_by(attempts.c.line)
    )
    return {line: count for line, count in connection.execute(query)}


def bring_looks_forward(connection: Connection, attempt_ids: Sequence[int], now: float) -> None:
    """A hint came: ask about these at once."""
    if attempt_ids:
        later = in_order(attempts, attempts.c.id.in_(attempt_ids), attempts.c.next_look_at > now, is_looked_at)
        connection.execute(update(attempts).where(later).values(next_look_at=now))


def canary(connection: Connection, line: str, before: float) -> RememberedCall | None:
    """The newest call of the line that ended before ``before`` and whose time and provider id are known."""
    query = (
        select(*_REMEMBERED)
        .where(attempts.c.line == line, attempts.c.call_id.is_not(None), attempts.c.state == AttemptState.ENDED)
        .where(attempts.c.ended_at < before, attempts.c.disposition != Disposition.UNKNOWN)
        .where(attempts.c.lost_until.is_(None))
        .where(~attempts.c.phone.startswith(MARK))  # it must be asked for by its number
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return _remembered(row) if row is not None else None


def other_calls(connection: Connection, line: str, call: RememberedCall) -> frozenset[str]:
    """The provider's ids of calls to the same number that certainly are other attempts': each stood in the answer to
    its own originate. An id that came in another way (found by number and time, told by a webhook) may be wrong."""
    query = select(attempts.c.call_id).where(
        attempts.c.phone == call.phone,
        attempts.c.line == line,
        attempts.c.id != call.attempt_id,
        attempts.c.call_id.is_not(None),
        attempts.c.verdict == VerdictKind.PLACED,
    )
    return frozenset(connection.execute(query).scalars())


def ids_by_call_id(connection: Connection, line: str, call_ids: Iterable[str]) -> dict[str, int]:
    query = select(attempts.c.call_id, attempts.c.id).where(
        attempts.c.line == line, attempts.c.call_id.in_(list(call_ids))
    )
    return {call_id: attempt_id for call_id, attempt_id in connection.execute(query.order_by(attempts.c.id))}


def ids_by_our_ref(connection: Connection, our_refs: Iterable[str]) -> dict[str, int]:
    query = select(attempts.c.our_ref, attempts.c.id).where(attempts.c.our_ref.in_(list(our_refs)))
    return {our_ref: attempt_id for our_ref, attempt_id in connection.execute(query)}


def ids_live_by_phone(connection: Connection, line: str, phones: Iterable[str]) -> dict[str, int]:
    """The one live attempt on each number through this line that the provider may know of."""
    query = select(attempts.c.phone, attempts.c.id).where(
        is_live,
        attempts.c.line == line,
        attempts.c.phone.in_(list(phones)),
        attempts.c.state.in_(_KNOWN_TO_A_PROVIDER),
    )
    return {phone: attempt_id for phone, attempt_id in connection.execute(query)}


def unknown_before(connection: Connection, line: str, phone: str, attempt_id: int, since: float) -> int | None:
    """The last attempt on the number through this line that may have been placed, if its end is what nobody could tell
    and it was given up not before ``since``. A later one that was told takes its place in the provider's queue."""
    query = (
        select(attempts.c.id, attempts.c.state, attempts.c.disposition)
        .where(attempts.c.phone == phone, attempts.c.line == line, attempts.c.id < attempt_id)
        .where(func.coalesce(attempts.c.ended_at, attempts.c.claimed_at) >= since)
        .where(attempts.c.counted | (attempts.c.state == AttemptState.UNCONFIRMED))
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    last = connection.execute(query).first()
    if last is None:
        return None
    unknown = last.state == AttemptState.UNCONFIRMED or last.disposition == Disposition.UNKNOWN
    return int(last.id) if unknown else None


_REMEMBERED = [
    attempts.c.id,
    attempts.c.our_ref,
    attempts.c.phone,
    attempts.c.call_id,
    attempts.c.sent_at,
    attempts.c.claimed_at,
    attempts.c.caller_id,
    attempts.c.lost_until,
]


def _remembered(row: Row) -> RememberedCall:  # type: ignore[type-arg]
    sent_at = row.sent_at if row.sent_at is not None else row.claimed_at
    return RememberedCall(row.id, row.our_ref, row.phone, row.call_id, sent_at, row.caller_id, row.lost_until)


def _attempt(row: Row) -> Attempt:  # type: ignore[type-arg]
    """By place, which is three times as fast as by name."""
    values = list(row[: len(Attempt._fields)])
    values[_ATTEMPT_STATE] = _ATTEMPT_STATES[values[_ATTEMPT_STATE]]
    if values[_ATTEMPT_DISPOSITION] is not None:
        values[_ATTEMPT_DISPOSITION] = _DISPOSITIONS[values[_ATTEMPT_DISPOSITION]]
    if values[_VERDICT] is not None:
        values[_VERDICT] = _VERDICTS[values[_VERDICT]]
    return Attempt(*values)


def _target(row: Row) -> Target:  # type: ignore[type-arg]
    values = list(row)
    values[_TARGET_STATE] = _TARGET_STATES[values[_TARGET_STATE]]
    if values[_TARGET_DISPOSITION] is not None:
        values[_TARGET_DISPOSITION] = _DISPOSITIONS[values[_TARGET_DISPOSITION]]
    return Target(*values)
