"""Words for a database that forgets: a backup was restored, or a failover lost the last transactions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Witness:
    """One attempt whose `sending` was committed, as somebody outside the database remembers it.

    ``database_id`` and ``reconciled_at`` are what the database said of itself then; ``sent_at`` is the time of that
    commit by the database's clock, epoch seconds.
    """

    database_id: str
    reconciled_at: float
    our_ref: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The one row of ``dispatch``: which database this is and whether anything may be dialled. Times are epoch seconds.

    ``reconciled_at`` grows with every restore that was dealt with. While ``locked_at`` is set nothing is dialled,
    because of ``why``; ``lost_at`` is when a commit was made that the database does not know. ``asked_at`` is when a
    person asked for what was lost to be looked for. No call that the last restore lost left after ``lost_until``, but
    for what was in the air.
    """

    database_id: str
    reconciled_at: float = 0.0
    locked_at: float | None = None
    why: str | None = None
    lost_at: float | None = None
    asked_at: float | None = None
    lost_until: float | None = None
