"""A database that forgets: noticed by what processes remember, and dispatch locked until a person has been asked.

What is remembered is one attempt whose `sending` was committed. If the database does not know it, a backup was restored
or a failover lost the last transactions, and somebody may have been called of whom the database thinks that nobody has.
docs/decisions/0009-a-database-that-forgets.md says why it is done like this.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol, TypeAlias

from campaign.domain.errors import CampaignError, OutOfReach
from campaign.domain.instants import format_instant
from campaign.domain.restores import Standing, Witness
from campaign.policies import restoring as policy
from campaign.storage import dispatch_rows, events
from campaign.storage.dispatch_rows import Watch
from campaign.storage.engine import Connection, Store

log = logging.getLogger(__name__)

REMEDY = "`campaign db reconcile` looks for what was lost, then it dials again"


class Unreadable(CampaignError):
    """A place outside the database holds something that is no witness. The text names the place."""


Witnesses: TypeAlias = Mapping[str, Witness]
"""By reference."""


class Place(Protocol):
    """Where a witness outlives its process."""

    def read(self, database_id: str) -> Sequence[Witness]:
        """What it has been told last. Raises Unreadable, and OutOfReach where it cannot be asked now."""
        ...

    def write(self, witness: Witness) -> None:
        """Raises OutOfReach."""
        ...

    def set_aside(self, database_id: str) -> None:
        """What was unreadable is out of the way."""
        ...


@dataclass(slots=True)
class Memory:
    """What one process is sure that its database has committed, and where it tells others of it.

    ``shared`` is the place that every claim asks and every `sending` is told to before its calls leave: a process that
    has not dialled since the backup knows from there what the others have committed.
    """

    places: Sequence[Place] = ()
    shared: Place | None = None
    seen: Witness | None = None
    database_id: str | None = None
    _others: Sequence[Witness] = field(default=(), repr=False)
    _told: bool = field(default=False, repr=False)

    def witnesses(self) -> Witnesses:
        """What the database must know, by reference."""
        return {w.our_ref: w for w in (self.seen, *self._others) if w is not None}

    def asked(self) -> Witnesses:
        """The same, after asking what others have committed by now. Raises OutOfReach."""
        if self.shared is not None and self.database_id is not None:
            try:
                self._others = self.shared.read(self.database_id)
            except Unreadable as fault:  # the next review locks dispatch and sets it aside
                raise OutOfReach(str(fault)) from None
        return self.witnesses()

    def committed(self, watch: Watch | None, our_ref: str, sent_at: float) -> None:
        """Only after the commit has returned: a commit of which that is not known proves nothing. Raises OutOfReach."""
        if watch is None:
            return
        self.seen = Witness(watch.standing.database_id, watch.standing.reconciled_at, our_ref, sent_at)
        if self.shared is not None:
            self.shared.write(self.seen)


def forbids(connection: Connection, witnesses: Witnesses, watch: Watch | None, now: float) -> bool:
    """Whether nothing may be dialled: dispatch is locked, or ``witnesses`` remember more than the database, and then
    it is locked in the caller's transaction.

    They are the very ones that ``watch`` was asked about, read from the memory before: while the question waited for a
    lock, another thread may have committed and remembered something newer, which ``watch`` cannot know.
    """
    if watch is None:
        return False
    if watch.standing.locked_at is not None:
        return True
    if watch.known == len(witnesses):
        return False
    known = dispatch_rows.known(connection, list(witnesses))
    behind = policy.newest(*(w for w in witnesses.values() if policy.is_behind(watch.standing, w, w.our_ref in known)))
    if behind is None:
        return False
    _lock(connection, watch.standing, now, _forgotten(behind), behind.sent_at)
    return True


def review_again(store: Store, memory: Memory, database_id: str) -> None:
    """The same for a process that has done it once: what is out of reach now stops the dialling by itself."""
    try:
        review(store, memory, database_id)
    except Exception as error:
        log.warning("what the database remembers could not be reviewed (%s)", type(error).__name__)


def review(store: Store, memory: Memory, database_id: str) -> None:
    """Compare what this process and every place remember with the database, and lock dispatch where it has forgotten
    something; else tell the places what this process is sure of. At a process's start and every few seconds.

    ``database_id`` becomes the database's own where it has none yet. Raises OutOfReach where a place cannot be asked:
    whoever has not asked must not dial, and must not write over what is there.
    """
    standing = standing_of(store, database_id)
    memory.database_id = standing.database_id
    told, faults = _asked(memory.places, standing.database_id)
    witnesses = [witness for witness in (memory.seen, *chain(*told)) if witness is not None]
    with store.read() as connection:
        known = dispatch_rows.known(connection, [witness.our_ref for witness in witnesses])
        standing = dispatch_rows.read(connection) or standing
    behind = [w for w in witnesses if policy.is_behind(standing, w, w.our_ref in known)]
    if behind or faults:
        _lock_now(store, standing, behind, faults)
    elif standing.locked_at is None:
        memory.seen = policy.newest(*(w for w in witnesses if w.database_id == standing.database_id))
        _tell(memory, told)


def standing_of(store: Store, database_id: str) -> Standing:
    """The row of ``dispatch``, made with ``database_id`` where there is none."""
    with store.read() as connection:
        standing = dispatch_rows.read(connection)
    if standing is not None:
        return standing
    with store.write() as connection:
        dispatch_rows.make(connection, database_id)
        made = dispatch_rows.read(connection)
    assert made is not None, "just made"
    return made


def _asked(places: Sequence[Place], database_id: str) -> tuple[list[Sequence[Witness]], list[tuple[Place, str]]]:
    """What each place remembers, and those whose memory cannot be read."""
    told: list[Sequence[Witness]] = []
    faults = []
    for place in places:
        try:
            told.append(place.read(database_id))
        except Unreadable as fault:
            told.append(())
            faults.append((place, str(fault)))
    return told, faults


def _lock_now(store: Store, judged: Standing, behind: Sequence[Witness], faults: Sequence[tuple[Place, str]]) -> None:
    """Lock dispatch, unless what it had lost as it stood when ``judged`` has been dealt with since. What cannot be read
    is put aside only under a lock: the next review meets it again."""
    worst = policy.newest(*behind)
    why = _forgotten(worst) if worst is not None else faults[0][1]
    with store.write() as connection:
        _lock(connection, judged, store.now(connection), why, worst.sent_at if worst is not None else None)
        standing = dispatch_rows.read(connection)
    if standing is not None and standing.locked_at is not None:
        for place, _ in faults:
            place.set_aside(standing.database_id)


def _lock(connection: Connection, judged: Standing, now: float, why: str, lost_at: float | None) -> None:
    if dispatch_rows.set_lock(connection, judged, now, why, lost_at):
        events.record(connection, now, "dispatch_locked", detail={"why": why, "lost_at": lost_at})
        log.error("nothing is dialled any more: %s; %s", why, REMEDY)


def _forgotten(witness: Witness) -> str:
    return (
        f"the database does not know a call that was committed at {format_instant(witness.sent_at)}: "
        "an older backup was restored, or a failover lost the last transactions"
    )


def _tell(memory: Memory, told: Sequence[Sequence[Witness]]) -> None:
    if memory.seen is None:
        return
    for place, there in zip(memory.places, told, strict=True):
        if memory.seen in there:
            continue
        try:
            place.write(memory.seen)
        except CampaignError as fault:
            if not memory._told:
                log.warning("%s; a restored backup may not be noticed when all workers are started anew", fault)
            memory._told = True


def sentence(standing: Standing | None) -> str | None:
    """Why nothing is dialled, and the remedy; None where dispatch is open."""
    if standing is None or standing.locked_at is None:
        return None
    remedy = "the workers are seeing to it" if standing.asked_at is not None else REMEDY
    return f"dispatch is locked since {format_instant(standing.locked_at)}: {standing.why}; {remedy}"


def locked(store: Store) -> str | None:
    """The same, asked of the database."""
    with store.read() as connection:
        return sentence(dispatch_rows.read(connection))
