"""A line's pace in numbers: how far apart its starts are, and how late one may leave."""

from dataclasses import dataclass
from math import ceil, floor

SECOND = 1_000_000
"""Microseconds, in which Redis reads its clock and start times are counted."""

UNDER_THE_LIMIT = 0.975
"""The pace aimed at, as a share of the limit: what jitter between a start time and the wire may eat."""

HORIZON = 0.5
"""Seconds ahead for which start times are given out."""

FENCEPOST_BELOW = 100.0
"""Calls per second below which one call more in a sliding second is allowed (both ends of the second may be met)."""

CATCHING_UP = 1.05
"""How close to each other starts may come, as a share of the limit, while the second before them holds fewer than it
may: so a quick line makes up for time in which nobody asked for start times."""

IN_PLACE = 0.25
"""How close those may come, as a share of the limit, that are given in the place of unused ones, between all others.
With more of either a start could be less late; with less, what was missed is made up for later. (1.02 and 0.12 were
tried and told from these by no measurement.)"""

SPARED = 3
"""Calls by which a quick line's full second stays under the limit at least: what a start may be late is won from it."""

SAFETY = 0.5
"""The share of the lateness that arithmetic allows which we use. The other half is left to what comes after our last
look at the clock: a processor that is taken from us, the network, the provider's own reading, and two workers' readings
of the shared clock. With 0.65 eight processes on two cores were seen to send 1,002 calls in a second of 1,000."""

MOST_LATE = 0.25


@dataclass(frozen=True, slots=True)
class Spacing:
    """How a line's start times follow one another, in microseconds.

    ``step`` lies between two of them, and no sliding second holds more than ``most``. On a quick line that has fallen
    behind it may shrink to ``quick``, and others ``in_place`` apart may come between; a slow line keeps its step.
    ``opening`` is for how long a line is silent whose books were lost: whatever was promised is over by then. A quick
    line's starts may have come so close that a whole second must lie between.
    """

    step: int
    quick: int
    in_place: int | None
    most: int
    opening: int


def spacing(limit: float) -> Spacing:
    """For a limit in calls per second."""
    step, horizon = ceil(SECOND / aimed(limit)), round(HORIZON * SECOND)
    if limit < FENCEPOST_BELOW:
        return Spacing(step, step, None, floor(aimed(limit)) + 1, horizon)
    quick, in_place = ceil(SECOND / (limit * CATCHING_UP)), ceil(SECOND / (limit * IN_PLACE))
    return Spacing(step, quick, in_place, min(floor(aimed(limit)), floor(limit) - SPARED), horizon + SECOND)


def lateness_allowed(limit: float) -> float:
    """Seconds after its start time at which a request no longer leaves but asks for another.

    Of starts that are late by at most d, a sliding second holds those of its own start times and those of the d before
    it; d is what keeps them within the limit, or within one more where a fencepost is allowed.
    """
    if limit < FENCEPOST_BELOW:
        most = (floor(limit) + 1.0) / aimed(limit) - 1.0
    else:
        most = (floor(limit) - 1 - spacing(limit).most) / (limit * (CATCHING_UP + IN_PLACE))
    return min(MOST_LATE, most * SAFETY)


def too_late(limit: float) -> float:
    """Seconds after its start time from which a request that has left may have made some second one too full: it is
    counted where it left, and the next start times make room for it."""
    return lateness_allowed(limit) * (0.5 + SAFETY / 2) / SAFETY


def aimed(limit: float) -> float:
    """Calls per second to aim at for a limit that must never be exceeded in any sliding second."""
    return limit * UNDER_THE_LIMIT
