"""Asking a provider how placed calls ended: in its batch form, adaptively, until every call has a final state."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from campaign.domain.calls import CallReport, RememberedCall, ReportStatus
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.pace import Want
from campaign.domain.states import AttemptState
from campaign.policies.events import Reported
from campaign.providers.port import Provider
from campaign.services.outside import Outside
from campaign.storage import attempt_rows
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

MOST = 500
AT_ONCE = 50
LOOK_LEASE = 60.0


def look_lease(line: Line, requests: int) -> float:
    """Seconds until somebody else asks about a call whose asker fell silent. Two who ask only cost the provider a
    request, so a line whose requests are quick does not wait for long. One look takes up to ``requests``."""
    return min(LOOK_LEASE, 4.0 * line.timeout) + requests * line.timeout


@dataclass(slots=True)
class Tracker:
    """One line's result polls in one process."""

    line: Line
    provider: Provider
    outside: Outside

    async def run(self, seconds: float) -> None:
        """Ask about everything that is due, for at most ``seconds``."""
        outside = self.outside
        for _ in outside.rounds(seconds):
            lease = look_lease(self.line, 1)
            calls = await outside.in_thread(take, outside.store, self.line.name, AttemptState.PLACED, lease, MOST)
            reach("poll.after_take")
            if not calls:
                return
            await self._ask_about([call for call, _ in calls])

    async def _ask_about(self, calls: Sequence[RememberedCall]) -> None:
        size = max(1, self.provider.capabilities.poll_batch)
        batches = [calls[start : start + size] for start in range(0, len(calls), size)]
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._ask(batch, gate) for batch in batches))

    async def _ask(self, batch: Sequence[RememberedCall], gate: asyncio.Semaphore) -> None:
        async with gate:
            await self._keep_pace()
            reports = await self._results(batch)
        reach("poll.after_answer")
        self.outside.recorder.put(*((report.attempt_id, Reported(report)) for report in reports if report.attempt_id))

    async def _results(self, batch: Sequence[RememberedCall]) -> list[CallReport]:
        try:
            reports = {report.attempt_id: report for report in await self.provider.results(batch)}
        except Exception as error:  # a fault of ours must not hide the calls: they are asked about again
            log.error("line %s: reading results raised %s", self.line.name, type(error).__name__)
            reports = {}
        silent = CallReport(ReportStatus.UNREACHABLE)
        return [_about(call, reports.get(call.attempt_id, silent)) for call in batch]

    async def _keep_pace(self) -> None:
        """Wait for a start time where the provider limits reads."""
        limit = self.provider.capabilities.polls_per_second
        if limit is None:
            return
        throttle, clock = self.outside.throttle, self.outside.clock
        while True:
            given = await throttle.reserve(f"{self.line.name}:polls", limit, [Want("polls", 1)])
            if given.slots:
                await asyncio.sleep(max(0.0, given.slots[0][1] - clock.monotonic()))
                return
            await asyncio.sleep(max(0.01, (given.retry_at or 0.0) - clock.monotonic()))


def _about(call: RememberedCall, report: CallReport) -> CallReport:
    if report.attempt_id == call.attempt_id:
        return report
    return CallReport(ReportStatus.UNREACHABLE, attempt_id=call.attempt_id)


def take(store: Store, line: str, state: AttemptState, lease: float, limit: int) -> list[tuple[RememberedCall, int]]:
    """Attempts in ``state`` that are due for a look, with their tokens, not asked about by others for ``lease``."""
    with store.write() as connection:
        now = store.now(connection)
        return attempt_rows.take_looks(connection, line, state, now, now + lease, limit)
