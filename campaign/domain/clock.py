"""Time as an argument. Only edges make a clock; everything else is handed one."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds, UTC. May step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step; for durations within this process only."""
        ...


CLOCKS_APART = 2.0
"""Seconds by which a machine's clock may differ from the database's. Beyond that its workers do not dial: whatever else
reads its clock (a provider's list asked for by time, a Retry-After date) would be wrong, too."""
