"""Time that jumps from event to event, and machines that die and freeze between any two steps of their tasks."""

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from random import Random
from typing import Any

from campaign.domain.pace import Correction

Steps = Generator[float, None, None]
"""A task. It yields the seconds until its next step; whatever it does between two yields is one atomic step."""

MOST_EVENTS = 60_000
DEADLY = 0.35
"""Of the strikes, the share that kills; the others freeze."""


class Clockwork:
    """``now`` is the true time and the database's clock."""

    def __init__(self, start: float) -> None:
        self.now = start
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, act: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._queue, (when, self._count, act))

    def run(self, until: float, over: Callable[[], bool]) -> bool:
        """Until nothing is left to happen, ``over`` says so (asked after every 16th event), or time is up. False where
        the world does not come to rest."""
        queue = self._queue
        for events in range(1, MOST_EVENTS + 1):
            if not queue or queue[0][0] > until:
                return True
            self.now, _, act = heappop(queue)
            act()
            if not events & 15 and over():
                return True
        return False


class Machine:
    """A worker process. What it holds in memory dies with it; ``epoch`` tells the living tasks from the dead.

    ``skew`` is how far its wall clock is off; its monotonic clock is true, and runs on while the machine is frozen.
    """

    __slots__ = ("down", "epoch", "frozen_until", "memory", "number", "on_rise", "risk", "skew")

    def __init__(self, number: int, risk: float, skew: float) -> None:
        self.number = number
        self.epoch = 0
        self.frozen_until = 0.0
        self.down = False
        self.risk = risk
        self.skew = skew
        self.memory = Memory()
        self.on_rise: Callable[[], None] | None = None


class Memory:
    """What a process knows and no row says: what it holds, what it has still to record, and to tell of start times."""

    __slots__ = ("dialing", "flushing", "held", "untold", "unwritten")

    def __init__(self) -> None:
        self.held: dict[str, list[Any]] = {}
        self.dialing: set[str] = set()
        self.unwritten: list[Any] = []
        self.untold: dict[str, list[Correction]] = {}
        self.flushing = False


class Task:
    """One running generator on one machine. A strike falls before a step, so every boundary is hit in time."""

    __slots__ = ("epoch", "machine", "steps", "storm")

    def __init__(self, steps: Steps, machine: Machine, storm: "Storm") -> None:
        self.steps = steps
        self.machine = machine
        self.epoch = machine.epoch
        self.storm = storm

    def __call__(self) -> None:
        machine, storm = self.machine, self.storm
        if machine.epoch != self.epoch:
            return
        clock = storm.clock
        now = clock.now
        if machine.frozen_until > now:
            clock.at(machine.frozen_until, self)
        elif now < storm.until and storm.random() < machine.risk:
            storm.strike(machine)
            if machine.epoch == self.epoch:
                clock.at(machine.frozen_until, self)
        else:
            delay = next(self.steps, None)
            if delay is not None:
                clock.at(now + delay, self)


class Storm:
    """Kills and freezes machines until ``until``."""

    def __init__(self, clock: Clockwork, rng: Random, until: float, freezes: tuple[float, ...]) -> None:
        self.clock = clock
        self.rng = rng
        self.random = rng.random
        self.until = until
        self.freezes = freezes
        self.kills = 0
        self.frozen = 0

    def strike(self, machine: Machine) -> None:
        if self.random() < DEADLY:
            self.kill(machine)
        else:
            self.freeze(machine, self.rng.choice(self.freezes) * (0.5 + self.random()))

    def freeze(self, machine: Machine, seconds: float) -> None:
        self.frozen += 1
        machine.frozen_until = self.clock.now + seconds

    def kill(self, machine: Machine) -> None:
        self.kills += 1
        machine.epoch += 1
        machine.down = True
        machine.memory = Memory()

        def rise() -> None:
            machine.down = False
            if machine.on_rise is not None:
                machine.on_rise()

        self.clock.at(self.clock.now + self.rng.choice((0.5, 3.0, 60.0)), rise)
