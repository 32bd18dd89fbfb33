"""Looking at calls that are out: take what is due, have it asked about, take more as soon as there is room for it.

What a process has taken nobody else looks at until its lease runs out; if the process dies, that is how long those
results stay away. So it takes no more than it asks about at once, for hardly longer than the question may take.
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

SPARE = 10.0
"""Seconds of a lease beyond the question itself, for its turn and for writing the answer down. Two who ask about one
call only cost the provider a request, so on a line whose requests are quick it is less."""

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

    def lease(self, line: Line) -> float:
        """Seconds until somebody else looks at a call whose asker fell silent."""
        return self.requests * line.timeout + min(SPARE, 4.0 * line.timeout)


@dataclass(slots=True)
class Looks:
    """What one process has out of one kind, for one line. Looks outlive the run that began them: one that hangs keeps
    neither its run nor the others waiting."""

    kind: Kind
    line: Line
    outside: Outside
    _out: set[asyncio.Task[None]] = field(default_factory=set)

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
        taken: list[Look] = await self.outside.in_thread(take, self.outside.store, self.line, self.kind, room)
        reach(f"{self.kind.name}.after_take")
        return [taken[start : start + self.kind.batch] for start in range(0, len(taken), self.kind.batch)]

    def _begin(self, look: Callable[[Sequence[Look]], Awaitable[None]], batch: Sequence[Look]) -> None:
        task = asyncio.create_task(self._safely(look, batch), name=f"{self.kind.name} {self.line.name}")
        self._out.add(task)
        task.add_done_callback(self._out.discard)

    async def _safely(self, look: Callable[[Sequence[Look]], Awaitable[None]], batch: Sequence[Look]) -> None:
        try:
            await look(batch)
        except Exception as error:  # nothing is lost: what was not recorded is looked at again after its lease
            log.error("line %s: a look failed (%s: %s)", self.line.name, self.kind.name, type(error).__name__)


def take(store: Store, line: Line, kind: Kind, most: int) -> list[Look]:
    """Attempts that are due for a look of this kind, with their tokens; nobody else looks at them for a lease."""
    with store.write() as connection:
        now = store.now(connection)
        return attempt_rows.take_looks(connection, line.name, kind.state, now, now + kind.lease(line), most)
