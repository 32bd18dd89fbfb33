"""A line's pace in numbers: how far apart its starts are, and how late one may leave."""

from dataclasses import dataclass
from math import ceil, floor

SECOND = 1_000_000
"""Microseconds, in which Redis reads its clock and start times are counted."""

UNDER_THE_LIMIT = 0.975
"""The pace of even steps, as a share of the limit: what jitter between a start time and the wire may eat."""

FULL = 0.99
"""How many calls a second may hold, as a share of the limit, where that is fewer than SPARED leaves. They are counted
where they left, so the rest is for what comes after that alone: the network, the provider's own reading of the time,
and two workers' readings of the shared clock."""

HORIZON = 0.7
"""Seconds ahead for which start times are given out. Less, and a machine that is held up asks too late; more, and those
of a quick line are given out before it is told when the calls left that they must keep a second from."""

COUNTED_FROM = 10.0
"""Calls per second from which a line is a quick one: its calls are counted where they left. Below, steps alone keep the
limit, since between them a call may be late by more than a machine that is held up is."""

FENCEPOST_BELOW = 100.0
"""Calls per second below which one call more in a sliding second is allowed (both ends of the second may be met)."""

CATCHING_UP = 1.25
"""How close to each other starts may come, as a share of the limit, while the second before them holds fewer than it
may: so a quick line makes up for start times that nobody asked for, that were not used, or that were used late."""

SPARED = 3
"""Calls by which a full second stays under the limit at least, from where no fencepost is allowed. Below, the fencepost
is what is spared."""

SAFETY = 0.5
"""The share of the lateness that arithmetic allows which we use where steps alone keep the limit. The other half is
left to what comes after our last look at the clock."""

MOST_LATE = 0.25
"""Seconds after its start time from which no request leaves any more, on whatever line."""

ON_ITS_WAY = 0.25
"""Seconds that a request of a quick line may take from the last look at the clock to the wire, as long as nobody has
told when it left: a processor that is taken from us, a process that has died."""

LATEST = round((MOST_LATE + ON_ITS_WAY) * SECOND)
"""Microseconds after its start time until which such a request may leave."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """How a line's start times follow one another, in microseconds.

    ``step`` lies between two of them, and no sliding second holds more than ``most``. On a quick line that has fallen
    behind it may shrink to ``quick``. A call of which nobody has told when it left may leave up to ``late`` after its
    start time. ``opening`` is for how long a line is silent whose books were lost: whatever was promised is over by
    then. A quick line's starts may have come so close that a whole second must lie between.
    """

    step: int
    quick: int
    most: int
    late: int
    opening: int


def spacing(limit: float) -> Spacing:
    """For a limit in calls per second."""
    step, horizon = ceil(SECOND / aimed(limit)), round(HORIZON * SECOND)
    if limit < COUNTED_FROM:
        most = max(floor(aimed(limit)) + 1, floor(limit))  # calls that are late may fill it
        return Spacing(step, step, most, 0, horizon)
    return Spacing(step, ceil(SECOND / (limit * CATCHING_UP)), _full(limit), LATEST, horizon + SECOND)


def _full(limit: float) -> int:
    """How many a quick line's second may hold: as many as lie one step apart, at least where whole calls allow it."""
    if limit < FENCEPOST_BELOW:
        return min(ceil(aimed(limit)), floor(limit))
    return min(floor(limit * FULL), floor(limit) - SPARED)


def lateness_allowed(limit: float) -> float:
    """Seconds after its start time at which a request of a line, or of a campaign with a pace of its own, no longer
    leaves but asks for another.

    Where the limit is quick, calls are counted where they left, and until that is told as if they left as late as they
    may: there lateness fills no second. Where it is slow, steps keep it.
    """
    return lateness_between_steps(limit) if limit < COUNTED_FROM else MOST_LATE


def lateness_between_steps(limit: float) -> float:
    """Seconds by which starts that are one step apart may be late, where nothing else keeps the limit.

    Of starts that are late by at most d, a sliding second holds those of its own start times and those of the d before
    it; d is what keeps them within the limit, or within one more where a fencepost is allowed.
    """
    most = floor(limit) + (1.0 if limit < FENCEPOST_BELOW else 0.0)
    return min(MOST_LATE, (most / aimed(limit) - 1.0) * SAFETY)


def aimed(limit: float) -> float:
    """Calls per second of even steps for a limit that must never be exceeded in any sliding second."""
    return limit * UNDER_THE_LIMIT
