"""Pace: start times for requests, reserved ahead and shared by every worker of a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Want:
    """``count`` start times for one group. ``limit`` is the group's own calls per second beside the line's, if any."""

    key: str
    count: int
    limit: float | None = None

    @property
    def own(self) -> str | None:
        """The key, where the group has a pace of its own."""
        return None if self.limit is None else self.key


class StartTime(NamedTuple):
    """``want`` is the index of the want that it is for, ``at`` the monotonic second at which to send. ``mark`` is its
    name with the throttle, ``own`` the key of its group where that has a pace of its own."""

    want: int
    at: float
    mark: int
    own: str | None = None


class Correction(NamedTuple):
    """What came of a start time, by its mark: the call left so many microseconds ``late``, or (None) nothing was sent
    at it nor will be. ``own`` is the start time's."""

    mark: int
    late: int | None = None
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """``starts`` are in order of time. ``retry_at`` is the monotonic second from which asking again may give more; None
    where all was given."""

    starts: tuple[StartTime, ...]
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """About how many start times can be had now; where none, the monotonic second from which to ask again."""

    calls: int
    retry_at: float


class Throttle(Protocol):
    async def room(self, line: str, calls_per_second: float) -> Room:
        """How much is worth claiming. Takes nothing, so another worker may be quicker. Raises OutOfReach."""
        ...

    async def reserve(
        self, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
    ) -> Reservation:
        """Start times with which no sliding second of the line, over all machines, holds more than it may.

        ``corrections`` are about start times given earlier. What is not told of soon counts as late as may be. Raises
        OutOfReach where the shared clock cannot be asked; then nothing may be sent.
        """
        ...
