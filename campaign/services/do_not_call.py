"""The do-not-call list. A number on it is skipped wherever it waits, at once, and refused at every claim and send.

Numbers come in as E.164 with ``+``; reading what people write is the business of intake.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from campaign.domain.erasure import ErasureKey
from campaign.services import suppression
from campaign.storage import dnc, events, targets
from campaign.storage.engine import Store

_BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Added:
    """``added`` were not listed before, ``known`` were; ``skipped`` is how many waiting targets will not be called."""

    added: int
    known: int
    skipped: int

    def __add__(self, other: "Added") -> "Added":
        return Added(self.added + other.added, self.known + other.known, self.skipped + other.skipped)


@dataclass(frozen=True, slots=True)
class Listed:
    phone: str = field(repr=False)
    reason: str
    added_at: float


def add(store: Store, phones: Iterable[str], reason: str = "", key: ErasureKey | None = None) -> Added:
    """List numbers, streaming: a transaction for every 5,000. A call that is live at this moment runs out.

    Numbers that were erased are known already and are not written down again; ``key`` tells them. Raises UsageFault
    where it is not theirs.
    """
    total = Added(0, 0, 0)
    stream = iter(phones)
    while some := list(islice(stream, _BATCH)):
        total += _add_some(store, some, reason, key)
    return total


def remove(store: Store, phones: Sequence[str]) -> int:
    """How many were listed. Targets that were skipped because of the list stay skipped: upload them anew."""
    with store.write() as connection:
        removed = dnc.remove(connection, list(phones))
        if removed:
            events.record(connection, store.now(connection), "dnc_removed", detail={"numbers": removed})
        return removed


def is_listed(store: Store, phone: str) -> bool:
    with store.read() as connection:
        return dnc.find(connection, phone) is not None


def count(store: Store) -> int:
    with store.read() as connection:
        return dnc.count(connection)


def list_numbers(store: Store) -> Iterator[Listed]:
    """All of them by number, in constant memory."""
    after = ""
    while True:
        with store.read() as connection:
            rows = dnc.page(connection, after, _BATCH)
        yield from (Listed(row["phone"], row["reason"], row["added_at"]) for row in rows)
        if not rows:
            return
        after = rows[-1]["phone"]


def _add_some(store: Store, phones: Sequence[str], reason: str, key: ErasureKey | None) -> Added:
    unique = list(dict.fromkeys(phones))
    with store.write() as connection:
        now = store.now(connection)
        erased = suppression.erased_among(connection, key, unique)
        added = dnc.add(connection, [phone for phone in unique if phone not in erased], reason, now)
        skipped = targets.skip_numbers(connection, unique, targets.DO_NOT_CALL, now)
        events.record(connection, now, "dnc_added", detail={"numbers": added, "skipped": skipped})
    return Added(added, len(unique) - added, skipped)
