"""What came of start times, until the throttle is told: it counts a call where it left, and one that nobody has told of
as if it had left as late as it may."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from campaign.domain.clock import Clock
from campaign.domain.pace import Correction, StartTime
from campaign.policies.pacing import SECOND
from campaign.providers.port import on_departure

TELL_WITHIN = 0.2
"""Seconds within which it is told, where nothing is asked for meanwhile. What is told later than a second less the
horizon after a call left costs pace."""


@dataclass(slots=True)
class Departures:
    """Of one line in one process; used from one event loop. ``tell`` hands on what it takes by :meth:`taken`."""

    clock: Clock
    tell: Callable[[], Awaitable[None]]
    _corrections: list[Correction] = field(default_factory=list)
    _under_way: set[int] = field(default_factory=set)
    _telling: asyncio.Task[None] | None = None

    def begun(self, start: StartTime) -> None:
        """Its call is sent in this task; the sender says when it has left."""
        self._under_way.add(start.mark)
        on_departure.set(partial(self.left, start))

    def left(self, start: StartTime) -> None:
        """Its request has just been written."""
        self._under_way.discard(start.mark)
        self._note(Correction(start.mark, max(0, round((self.clock.monotonic() - start.at) * SECOND)), start.own))

    def ended(self, start: StartTime) -> None:
        """Its call is over. If nobody has said when it left, it has by now."""
        if start.mark in self._under_way:
            self.left(start)

    def unused(self, start: StartTime) -> None:
        self._note(Correction(start.mark, None, start.own))

    def taken(self) -> Sequence[Correction]:
        """What there is to tell; :meth:`again` where nobody is known to have heard it."""
        corrections, self._corrections = self._corrections, []
        return corrections

    def again(self, corrections: Sequence[Correction]) -> None:
        self._corrections = [*corrections, *self._corrections]

    async def told(self) -> None:
        """Tell all at once: this process ends."""
        if self._telling is not None:
            self._telling.cancel()
        if self._corrections:
            await self.tell()

    def _note(self, correction: Correction) -> None:
        self._corrections.append(correction)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_soon())

    async def _tell_soon(self) -> None:
        await asyncio.sleep(TELL_WITHIN)
        if self._corrections:
            await self.tell()
