"""Settling doubts: was the call whose answer was lost ever placed? Asked of the provider, decided by the lifecycle."""

import asyncio
import logging
from dataclasses import dataclass, replace

from campaign.domain.calls import Finding, FindingKind, RememberedCall
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.states import AttemptState
from campaign.policies.events import Looked
from campaign.providers.port import Provider
from campaign.services.outside import Outside
from campaign.services.tracking import look_lease, take
from campaign.storage import attempt_rows
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

MOST = 100
AT_ONCE = 10


@dataclass(slots=True)
class Settler:
    """One line's doubts in one process."""

    line: Line
    provider: Provider
    outside: Outside

    async def run(self, seconds: float) -> None:
        """Look for every unconfirmed attempt that is due, for at most ``seconds``."""
        outside = self.outside
        for _ in outside.rounds(seconds):
            lease = look_lease(self.line, 3)
            doubts = await outside.in_thread(take, outside.store, self.line.name, AttemptState.UNCONFIRMED, lease, MOST)
            reach("settle.after_take")
            if not doubts:
                return
            lag = self.provider.capabilities.list_lag
            canary, now = await outside.in_thread(_canary, outside.store, self.line.name, lag)
            gate = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._look(call, token, canary, now, gate) for call, token in doubts))

    async def _look(
        self, call: RememberedCall, token: int, canary: RememberedCall | None, now: float, gate: asyncio.Semaphore
    ) -> None:
        async with gate:
            finding = await self._find(call, canary)
        # The earlier of two clocks: a worker whose own is ahead must not see an absence age before its time, and one
        # whose own is behind asks for a stretch of time that may end before the call.
        finding = replace(finding, as_of=min(finding.as_of, now))
        finding = await self.outside.in_thread(_not_anothers, self.outside.store, self.line.name, call, finding)
        reach("settle.after_look")
        self.outside.recorder.put((call.attempt_id, Looked(token, finding)))

    async def _find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        try:
            return await self.provider.find(call, canary)
        except Exception as error:  # a fault of ours is no evidence of anything
            log.error("line %s: looking for a call raised %s", self.line.name, type(error).__name__)
            return Finding(FindingKind.UNREACHABLE, as_of=0.0)


def _canary(store: Store, line: str, lag: float) -> tuple[RememberedCall | None, float]:
    """A call that every list must show, and the time by the shared clock."""
    with store.read() as connection:
        now = store.now(connection)
        return attempt_rows.canary(connection, line, now - lag), now


def _not_anothers(store: Store, line: str, call: RememberedCall, finding: Finding) -> Finding:
    """A call that is already another attempt's proves nothing about this one."""
    if finding.kind is not FindingKind.FOUND or finding.call_id is None:
        return finding
    with store.read() as connection:
        owner = attempt_rows.ids_by_call_id(connection, line, [finding.call_id]).get(finding.call_id)
    if owner is None or owner == call.attempt_id:
        return finding
    return replace(finding, kind=FindingKind.BLIND, call_id=None, report=None, reason="found another attempt's call")
