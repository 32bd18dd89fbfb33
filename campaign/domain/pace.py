"""Pace: start times for requests, reserved ahead and shared by every worker of a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Want:
    """``count`` start times for one group. ``limit`` is the group's own calls per second beside the line's, if any."""

    key: str
    count: int
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """``slots`` are (index of the want, monotonic second at which to send), in order of time.

    ``retry_at`` is the monotonic second from which asking again may give more; None where all was given.
    """

    slots: tuple[tuple[int, float], ...]
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

    async def reserve(self, line: str, calls_per_second: float, wants: Sequence[Want]) -> Reservation:
        """Start times no nearer to any other of the line's, on any machine, than its pace allows.

        Raises OutOfReach where the shared clock cannot be asked; then nothing may be sent.
        """
        ...
