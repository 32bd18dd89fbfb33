"""What the event loop has learnt, on its way to the database: gathered for a moment, written in bulk, never dropped
while its process lives, unless the database can never take it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from campaign.policies.looking import LookRules
from campaign.services.recording import Happened, record
from campaign.storage.engine import Store, is_lasting

log = logging.getLogger(__name__)

GATHER = 0.02
"""Seconds for which answers are gathered, at least; what is not yet written when the process dies becomes doubt."""

REST = 4.0
"""How much longer than the last write took the next one is gathered for: writing costs the same for one answer as for
fifty, and takes the interpreter from the calls that are about to leave."""

LONGEST_GATHER = 0.15
MOST = 500
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 1.0
"""Seconds between two askings of a database that is away: once it is back, what waits should be written before a lease
runs out. Some are over in ten seconds."""

InThread = Callable[..., Awaitable[None]]


class Recorder:
    """Used from one event loop. A database that is away is asked again until it is back: until then the attempts stay
    `sending`, nothing more is claimed, and their leases turn them into doubts if this process dies."""

    def __init__(self, store: Store, rules: Mapping[str, LookRules], in_thread: InThread) -> None:
        self._store = store
        self._rules = rules
        self._in_thread = in_thread
        self._waiting: list[Happened] = []
        self._task: asyncio.Task[None] | None = None
        self._gather = GATHER
        self.troubled = False

    def put(self, *happened: Happened) -> None:
        self._waiting.extend(happened)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="recorder")

    async def drained(self) -> None:
        """Returns when everything put so far is committed."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._gather if len(self._waiting) < MOST else 0.0)
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            await self._write(batch)

    async def _write(self, batch: Sequence[Happened]) -> None:
        started = asyncio.get_running_loop().time()
        try:
            await self._until_it_is_back(batch)
        except Exception as error:
            await self._one_by_one(batch, error)
        took = asyncio.get_running_loop().time() - started
        self._gather = min(max(GATHER, REST * took), LONGEST_GATHER)

    async def _until_it_is_back(self, batch: Sequence[Happened]) -> None:
        """The events are guarded by their tokens and may come again, so a lost commit does no harm. Raises what would
        be raised again however long one waits."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._in_thread(record, self._store, self._rules, batch)
            except Exception as error:
                if is_lasting(error):
                    raise
                self.troubled = True
                log.warning("recording %d events failed (%s); trying again", len(batch), type(error).__name__)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self.troubled = False
                return

    async def _one_by_one(self, batch: Sequence[Happened], error: Exception) -> None:
        """One event that cannot be written must not keep the others, or this process, from going on. Its attempt has a
        lease or a time to look again, and is found by that."""
        if len(batch) == 1:
            attempt_id, event = batch[0]
            log.error(
                "attempt %d: %s could not be recorded (%s)", attempt_id, type(event).__name__, type(error).__name__
            )
            return
        for happened in batch:
            await self._write([happened])
