"""Time as an argument. Only edges make a clock; everything else is handed one."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Epoch seconds, UTC. May step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step; for durations within this process only."""
        ...
