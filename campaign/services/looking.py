"""Looking at calls that are out: take what is due, have it asked about, take more as soon as there is room for it.

What a process has taken nobody else looks at until its lease runs out; if the process dies, that is how long those
results stay away. So it takes no more than it asks about at once, for hardly longer than questions take these days.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from campaign.domain.calls import RememberedCall
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.states import AttemptState
from campaign.services.outside import Outside
from campaign.storage import attempt_rows
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

QUICK = 2.0
"""Seconds that a look is given at least, and at first: two who ask about one call only cost the provider a request."""

PATIENCE = 3.0
"""How many times as long as the slowest of late a look may take before somebody else looks, too."""

SPARE = 3.0
"""Seconds of a lease beyond the look itself, for writing down what came of it."""

FORGETS = 0.9
"""What is left of the slowest look after each one that was quicker."""

REFILL = 0.2
"""Seconds between two looks for more to ask about while some questions are still out."""

Look = tuple[RememberedCall, int]
"""A call to ask about, and its attempt's token."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of looking. A look takes up to ``requests`` requests for ``batch`` calls, ``at_once`` looks are out."""

    name: str
    state: AttemptState
    requests: int
    at_once: int
    batch: int = 1


@dataclass(slots=True)
class Looks:
    """What one process has out of one kind, for one line. Looks outlive the run that began them: one that hangs keeps
    neither its run nor the others waiting."""

    kind: Kind
    line: Line
    outside: Outside
    _out: set[asyncio.Task[None]] = field(default_factory=set)
    _asked: set[int] = field(default_factory=set)
    _slowest: float = 0.0

    async def run(self, seconds: float, look: Callable[[Sequence[Look]], Awaitable[None]]) -> None:
        """Hand what is due to ``look``, batch by batch, for at most ``seconds`` or until nothing is due or out."""
        for _ in self.outside.rounds(seconds):
            for batch in await self._taken():
                self._begin(look, batch)
            if not self._out:
                return
            await asyncio.wait(self._out, timeout=REFILL)
        if self._out and self.outside.stopping():
            await asyncio.wait(self._out)

    async def _taken(self) -> list[list[Look]]:
        room = (self.kind.at_once - len(self._out)) * self.kind.batch
        if room <= 0:
            return []
        asked = (take, self.outside.store, self.line.name, self.kind.state, self._lease(), room)
        taken: list[Look] = await self.outside.in_thread(*asked)
        reach(f"{self.kind.name}.after_take")
        # Ours whose lease ran out while we still look: that others stay away for another lease is all it needs.
        taken = [(call, token) for call, token in taken if call.attempt_id not in self._asked]
        return [taken[start : start + self.kind.batch] for start in range(0, len(taken), self.kind.batch)]

    def _lease(self) -> float:
        """Seconds until somebody else looks at a call whose asker fell silent."""
        longest = self.kind.requests * self.line.timeout
        return min(longest, max(QUICK, PATIENCE * self._slowest)) + SPARE

    def _begin(self, look: Callable[[Sequence[Look]], Awaitable[None]], batch: Sequence[Look]) -> None:
        task = asyncio.create_task(self._safely(look, batch), name=f"{self.kind.name} {self.line.name}")
        self._out.add(task)
        task.add_done_callback(self._out.discard)

    async def _safely(self, look: Callable[[Sequence[Look]], Awaitable[None]], batch: Sequence[Look]) -> None:
        began, ids = self.outside.clock.monotonic(), {call.attempt_id for call, _ in batch}
        self._asked |= ids
        try:
            await look(batch)
        except Exception as error:  # nothing is lost: what was not recorded is looked at again after its lease
            log.error("line %s: a look failed (%s: %s)", self.line.name, self.kind.name, type(error).__name__)
        finally:
            self._asked -= ids
        self._slowest = max(FORGETS * self._slowest, self.outside.clock.monotonic() - began)


def take(store: Store, line: str, state: AttemptState, lease: float, most: int) -> list[Look]:
    """Attempts in ``state`` that are due for a look, with their tokens; nobody else looks at them for ``lease``."""
    with store.write() as connection:
        now = store.now(connection)
        return attempt_rows.take_looks(connection, line, state, now, now + lease, most)
