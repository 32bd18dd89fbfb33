"""Seeds in, outcomes out; one by one, or many on several processes."""

import gc
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

from campaign.domain.states import TargetState
from tests.simulation.database import IndexRefused
from tests.simulation.oracle import Violation
from tests.simulation.people import People
from tests.simulation.protocol import Protocol
from tests.simulation.scenario import Climate, temperate
from tests.simulation.workers import Workers
from tests.simulation.world import Outcome, World

TIME_LIMIT = 12 * 86_400.0
CHUNK = 200
_OVER = frozenset({TargetState.DONE, TargetState.SKIPPED, TargetState.HELD})


def run_seed(
    seed: int, protocol: Callable[..., Protocol] = Protocol, climate: Climate = temperate, *, beyond: bool = False
) -> Outcome:
    """One world from its first claim until every target has ended and nothing is in the air."""
    world = World(seed, protocol, climate, beyond=beyond)
    People(world, Workers(world)).begin()
    start = world.scenario.start
    outcome = Outcome(seed)

    def over() -> bool:
        now = world.clock.now
        if now < world.scenario.storm_ends or world.database.live:
            return False
        return now > start + TIME_LIMIT or all(t.value.state in _OVER for t in world.database.targets.values())

    try:
        if not world.clock.run(start + TIME_LIMIT, over):
            raise Violation("the world does not come to rest")
        world.oracle.at_the_end(world.clock.now)
    except (Violation, IndexRefused) as violation:
        outcome.violation = str(violation)
    outcome.seconds = world.clock.now - start
    outcome.seen = world.seen + world.database.notes + world.oracle.seen
    outcome.seen["rings"] = world.oracle.rings
    outcome.seen["kills"] = world.storm.kills
    outcome.seen["freezes"] = world.storm.frozen
    outcome.seen["attempts"] = len(world.database.attempts)
    return outcome


@dataclass(slots=True)
class Tally:
    """Many outcomes. ``hours`` are simulated, ``seconds`` are ours."""

    seeds: int = 0
    hours: float = 0.0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.seeds += other.seeds
        self.hours += other.hours
        self.seen.update(other.seen)
        self.broken += other.broken


def run_chunk(first: int, count: int, *, beyond: bool = False) -> Tally:
    tally = Tally()
    gc.disable()  # every world is one cycle of garbage: collected once per chunk it costs a third less
    for seed in range(first, first + count):
        outcome = run_seed(seed, beyond=beyond)
        tally.seeds += 1
        tally.hours += outcome.seconds / 3600.0
        tally.seen.update(outcome.seen)
        if outcome.violation is not None:
            tally.broken.append((seed, outcome.violation))
    gc.enable()
    gc.collect()
    return tally


def run_many(first: int, count: int, jobs: int, *, beyond: bool = False) -> Tally:
    started = perf_counter()
    total = Tally()
    chunks = [(at, min(CHUNK, first + count - at)) for at in range(first, first + count, CHUNK)]
    for tally in _each(chunks, jobs, beyond):
        total.add(tally)
    total.seconds = perf_counter() - started
    total.broken.sort()
    return total


def _each(chunks: list[tuple[int, int]], jobs: int, beyond: bool) -> Iterable[Tally]:
    if jobs <= 1:
        for first, count in chunks:
            yield run_chunk(first, count, beyond=beyond)
        return
    with ProcessPoolExecutor(jobs, initializer=gc.freeze) as pool:  # what we were forked with is never garbage
        futures = [pool.submit(run_chunk, first, count, beyond=beyond) for first, count in chunks]
        for future in futures:
            yield future.result()
