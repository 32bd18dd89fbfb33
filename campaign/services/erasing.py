"""Erasing people: a durable request, worked off in small transactions by whoever comes, the command or any tick.

First the rows of the number: waiting targets are skipped at once, the others wait for their calls to end, since polls
and settle need the number until then. Then, page by page, the tables in which it may stand in somebody's words. A kill
anywhere leaves a request that is due again; every step may be done twice. Nothing here needs the key but asking.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from campaign.domain.erasure import ERASED, ErasureKey, lettered
from campaign.domain.failpoints import reach
from campaign.policies.traces import Trace, found_in, without
from campaign.services.suppression import missing
from campaign.storage import erasure_walk, erasures, events, targets
from campaign.storage.engine import Connection, RowMapping, Store
from campaign.storage.erasures import Held

MOST = 100
"""Requests that one transaction works on."""

PAGE = 1_000
STEPS = 10
"""Steps of one tick: it has other duties."""

LOOK_AGAIN = 5.0
"""Seconds until a request is looked at again that waits for a call, an upload or a delivery."""

DELIVERY_WAITS = 86_400.0
"""Seconds for which a delivery that nobody has handled is left alone; then its line is gone for good."""

_ROWS, _REJECTS, _INBOX, _TARGETS, _END = range(5)


@dataclass(frozen=True, slots=True)
class Asked:
    """``again`` had been asked for before; ``skipped`` targets will not be called; ``waiting`` numbers stand until
    their calls have ended or their uploads are read."""

    numbers: int
    again: int
    skipped: int
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """``numbers`` were ever asked for; ``waiting`` of them still stand somewhere, since ``calls`` are open or
    ``unread`` uploads may hold them. ``key`` says what is wrong with this process's key, if something is;
    ``missed_at`` when one last refused to work for want of it, ``asked_at`` now."""

    numbers: int
    waiting: int
    calls: int
    unread: bool
    key: str | None
    missed_at: float | None
    asked_at: float


def ask(store: Store, key: ErasureKey, phones: Sequence[str]) -> Asked:
    """Suppress these E.164 numbers from this moment on, and ask for them to be erased. Raises UsageFault."""
    total = Asked(0, 0, 0)
    unique = list(dict.fromkeys(phones))
    for start in range(0, len(unique), MOST):
        some = {key.digest(phone): phone for phone in unique[start : start + MOST]}
        with store.write() as connection:
            now = store.now(connection)
            if erasures.adopt_key(connection, key.fingerprint, now) != key.fingerprint:
                raise missing(key)
            again = len(erasures.request(connection, some, now))
            skipped = targets.skip_numbers(connection, list(some.values()), ERASED, now)
            detail = {"numbers": len(some), "again": again, "skipped": skipped}
            events.record(connection, now, "erase_asked", detail=detail)
        total = Asked(total.numbers + len(some), total.again + again, total.skipped + skipped)
    return total


def erase(store: Store, key: ErasureKey, phones: Sequence[str]) -> Asked:
    """The same, and all the work that can be done now."""
    asked = ask(store, key, phones)
    while _step(store):
        pass
    with store.read() as connection:
        waiting = erasures.still_open(connection, [key.digest(phone) for phone in set(phones)])
    return Asked(asked.numbers, asked.again, asked.skipped, waiting)


def work_off(store: Store, steps: int = STEPS) -> None:
    """A tick's share of what is due. Any number of processes may work at once."""
    for _ in range(steps):
        if not _step(store):
            return


def standing(store: Store, key: ErasureKey | None) -> Standing:
    with store.read() as connection:
        numbers, waiting = erasures.counts(connection)
        used = erasures.fingerprint(connection)
        wrong = used is not None and (key is None or key.fingerprint != used)
        return Standing(
            numbers,
            waiting,
            erasures.open_calls(connection) if waiting else 0,
            waiting > 0 and erasures.oldest_unread_upload(connection) is not None,
            str(missing(key)) if wrong else None,
            erasures.missed_at(connection),
            store.now(connection),
        )


# --- one step --------------------------------------------------------------------------------------------------------


def _step(store: Store) -> bool:
    """One transaction's work. False where nothing is due."""
    with store.read() as connection:
        if not erasures.any_due(connection, store.now(connection)):
            return False
    with store.write() as connection:
        now = store.now(connection)
        open_ = erasures.take(connection, now, MOST)
        if not open_:
            return False
        match open_[0]["walk"]:
            case 0:
                _erase_rows(connection, open_, now)
            case walk if walk < _END:
                _walk(connection, open_, walk, now)
            case _:
                erasures.finish(connection, [row["digest"] for row in open_], now)
                events.record(connection, now, "erased", detail={"numbers": len(open_)})
        reach("erase.before_commit")
    reach("erase.after_commit")
    return True


def _erase_rows(connection: Connection, open_: Sequence[RowMapping], now: float) -> None:
    """Targets, attempts, events and list entries of the numbers, wherever no call is open."""
    digests = {row["phone"]: row["digest"] for row in open_}
    oldest = erasures.oldest_unread_upload(connection)  # first: what is published later must find us waiting
    tries = erasures.lock_attempts(connection, list(digests))
    held = erasures.skip_and_lock_targets(connection, list(digests), now)
    busy = {target.phone for target in held if target.busy}
    free = [target for target in held if not target.busy]
    _empty(connection, free, digests)
    ended = {target.id for target in free}
    traces = {target.id: Trace(target.phone) for target in free}
    _take_out_of_words(connection, [row for row in tries if row["target_id"] in ended], traces)
    erasures.unlist(connection, list(digests))
    through = [r for r in open_ if r["phone"] not in busy and (oldest is None or oldest > r["requested_at"])]
    erasures.go_on(connection, [row["digest"] for row in through], now, _REJECTS)
    later = {row["digest"] for row in open_} - {row["digest"] for row in through}
    erasures.go_on(connection, later, now + LOOK_AGAIN, _ROWS)


def _empty(connection: Connection, free: Sequence[Held], digests: Mapping[str, str]) -> None:
    taken = erasures.names_taken(connection, list(digests.values()))
    for target in free:
        digest = digests[target.phone]
        # The same number was uploaded once more while its call was open: each row needs a name of its own.
        name = f"{digest}.{lettered(target.id)}" if (target.campaign_id, digest) in taken else digest
        erasures.empty_target(connection, target.id, name)
    for phone in {target.phone for target in free}:
        ids = [target.id for target in free if target.phone == phone]
        erasures.rename_attempts(connection, ids, phone, digests[phone])


def _take_out_of_words(connection: Connection, tries: Sequence[RowMapping], traces: Mapping[int, Trace]) -> None:
    """Providers' words are masked before they are stored; this is for what was not."""
    of_attempt = {row["id"]: traces[row["target_id"]] for row in tries}
    for row in tries:
        said = {name: row[name] for name in ("call_id", "raw", "reason") if row[name]}
        if found_in([traces[row["target_id"]]], list(said.values())):
            erasures.rewrite_attempt(connection, row["id"], without([traces[row["target_id"]]], said))
    for event in erasures.details_of(connection, list(of_attempt)):
        trace = of_attempt[event["attempt_id"]]
        if found_in([trace], event["detail"]):
            erasures.rewrite_detail(connection, event["id"], without([trace], event["detail"]))


# --- the walk --------------------------------------------------------------------------------------------------------


def _walk(connection: Connection, open_: Sequence[RowMapping], walk: int, now: float) -> None:
    """One page of one table."""
    digests = [row["digest"] for row in open_]
    traces = [Trace(row["phone"]) for row in open_]
    place, walked = walk - 1, open_[0]["walked"]
    page = erasure_walk.page(connection, place, walked, PAGE)
    calls = erasure_walk.names_of_calls(connection, digests) if walk == _INBOX and page else []
    for row in page:
        hits = found_in(traces, _said(row)) or (walk == _INBOX and _names_a_call(calls, row))
        if not hits:
            walked = row["id"]
            continue
        if walk == _INBOX and row["due_at"] is not None and row["received_at"] > now - DELIVERY_WAITS:
            erasures.go_on(connection, digests, now + LOOK_AGAIN, walk, walked)  # a result may be in it
            return
        _forget(connection, walk, row["id"], traces)
        walked = row["id"]
    if len(page) < PAGE:
        walk, walked = walk + 1, 0
    erasures.go_on(connection, digests, now, walk, walked)


def _said(row: RowMapping) -> list[Any]:
    return [_text(value) for name, value in row.items() if name not in ("id", "line", "due_at", "received_at")]


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _names_a_call(calls: Sequence[tuple[str, str, str | None]], row: RowMapping) -> bool:
    text = f"{_text(row['body'])} {row['query']}"
    names = (name for line, *names in calls if line == row["line"] for name in names if name and name in text)
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names)


def _forget(connection: Connection, walk: int, row_id: int, traces: Sequence[Trace]) -> None:
    """A rejected row and a delivery are the person's, and go whole. Of somebody else's columns only the number goes."""
    if walk == _INBOX:
        erasures.forget_delivery(connection, row_id)
        return
    for row in erasure_walk.locked(connection, walk - 1, [row_id]):
        if walk == _REJECTS:
            erasure_walk.rewrite(connection, walk - 1, row_id, cells=[""] * len(row["cells"]))
        else:
            said = {name: row[name] for name in ("variables", "phone_as_given")}
            erasure_walk.rewrite(connection, walk - 1, row_id, **without(traces, said))
