"""What is compared: a way to make calls, and how one of its runs is measured."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

WARM = 0.8
"""Seconds of work before the clock is started: connections are open, statements are prepared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured window. ``cpu`` is the client's side alone, in microseconds per call, all its processes added."""

    per_second: float
    cpu: float

    @property
    def per_cpu_second(self) -> float:
        """Calls that a second of its processes' CPU carries."""
        return 1e6 / self.cpu


class Contender(Protocol):
    """One way to make calls. Its processes stay up between runs, idle."""

    name: str

    def running(self) -> AbstractContextManager[None]:
        """Makes calls as fast as it can for as long as the block lasts; nothing is in the air when it has ended."""
        ...

    def done(self) -> int:
        """Calls made in this run so far."""
        ...

    def cpu(self) -> float:
        """Seconds of CPU that its processes have used so far."""
        ...

    def close(self) -> None: ...


def measure(contender: Contender, seconds: float, warm: float = WARM) -> Figure:
    with contender.running():
        time.sleep(warm)
        began, calls, cpu = _reading(contender)
        time.sleep(seconds)
        ended, calls_then, cpu_then = _reading(contender)
    made = calls_then - calls
    return Figure(made / (ended - began), (cpu_then - cpu) / made * 1e6 if made else float("inf"))


def _reading(contender: Contender) -> tuple[float, int, float]:
    calls = contender.done()
    return time.monotonic(), calls, contender.cpu()


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Raises TimeoutError with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def wait_until_still(reading: Callable[[], int], quiet: float = 0.4) -> None:
    """Returns when ``reading`` has not changed for ``quiet`` seconds."""
    last = -1
    while (now := reading()) != last:
        last = now
        time.sleep(quiet)
