"""Withdrawing calls: what a provider still holds in its queue and must not ring any more, it is asked to cancel.

The gates were open when the call left and its line's margin should have sufficed. Where it did not, or where somebody
has asked meanwhile not to be called, this is what is left to do, and only where the API shows a call that has not rung
and takes it back.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from campaign.domain.calls import CallReport, RememberedCall
from campaign.domain.line import Line
from campaign.policies.withdrawn import must_not_ring
from campaign.providers.port import Provider
from campaign.services.outside import Outside
from campaign.storage import campaign_rows, claims, erasures
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

AT_ONCE = 10


@dataclass(slots=True)
class Withdrawer:
    """One line's calls in its provider's queue."""

    line: Line
    provider: Provider
    outside: Outside

    async def withdraw(self, calls: Sequence[RememberedCall], reports: Sequence[CallReport]) -> list[RememberedCall]:
        """Those of ``calls`` that ``reports`` show in the queue, that must not ring, and that are gone now."""
        queued = {report.attempt_id: report for report in reports if report.rang is False}
        if not queued or not self.provider.capabilities.cancel:
            return []
        held = [(call, queued[call.attempt_id]) for call in calls if call.attempt_id in queued]
        late = await self.outside.in_thread(unwanted, self.outside.store, held, self._until_the_next_look())
        asked = [call for call, _ in held if call.attempt_id in late]
        gate = asyncio.Semaphore(AT_ONCE)
        gone = await asyncio.gather(*(self._cancel(call, gate) for call in asked))
        return [call for call, is_gone in zip(asked, gone, strict=True) if is_gone]

    def _until_the_next_look(self) -> float:
        """Seconds: whatever would be closed by then must be withdrawn by this look. A look and a cancel take a request
        each; a call in the queue is looked at steadily."""
        return self.line.poll.every + 2 * self.line.timeout

    async def _cancel(self, call: RememberedCall, gate: asyncio.Semaphore) -> bool:
        try:
            async with gate:
                return await self.provider.cancel(call)
        except Exception as error:  # a fault of ours; the next look tries again
            log.error("line %s: canceling a call raised %s", self.line.name, type(error).__name__)
            return False


def unwanted(store: Store, held: Sequence[tuple[RememberedCall, CallReport]], margin: float) -> set[int]:
    """Attempts whose number may not ring ``margin`` seconds from now."""
    with store.read() as connection:
        now = store.now(connection)
        plans = campaign_rows.plans_of_attempts(connection, [call.attempt_id for call, _ in held])
        phones = [call.phone for call, _ in held]
        listed = claims.listed(connection, phones) | erasures.asked_for(connection, phones)
    return {
        call.attempt_id
        for call, report in held
        if (plan := plans.get(call.attempt_id)) is not None
        and must_not_ring(report, call.phone, plan, now, margin, listed=call.phone in listed)
    }
