"""Asking a provider how placed calls ended: in its batch form, adaptively, until every call has a final state."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from campaign.domain.calls import CallReport, RememberedCall, ReportStatus
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.pace import Want
from campaign.domain.states import AttemptState
from campaign.policies.events import Reported
from campaign.providers.port import Provider
from campaign.services.looking import Kind, Look, Looks
from campaign.services.outside import Outside
from campaign.services.withdrawing import Withdrawer

log = logging.getLogger(__name__)

AT_ONCE = 50


@dataclass(slots=True)
class Tracker:
    """One line's result polls in one process."""

    line: Line
    provider: Provider
    outside: Outside
    _looks: Looks = field(init=False)
    _withdrawer: Withdrawer = field(init=False)

    def __post_init__(self) -> None:
        batch = max(1, self.provider.capabilities.poll_batch)
        kind = Kind("poll", AttemptState.PLACED, requests=1, at_once=AT_ONCE, batch=batch)
        self._looks = Looks(kind, self.line, self.outside)
        self._withdrawer = Withdrawer(self.line, self.provider, self.outside)

    async def run(self, seconds: float) -> None:
        """Ask about everything that is due, for at most ``seconds``."""
        await self._looks.run(seconds, self._ask)

    async def _ask(self, batch: Sequence[Look]) -> None:
        await self._keep_pace()
        calls = [call for call, _ in batch]
        reports = await self._results(calls)
        if gone := await self._withdrawer.withdraw(calls, reports):
            ended = {report.attempt_id: report for report in await self._results(gone)}
            reports = [ended.get(report.attempt_id, report) for report in reports]
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
            if given.starts:
                await asyncio.sleep(max(0.0, given.starts[0].at - clock.monotonic()))
                return
            await asyncio.sleep(max(0.01, (given.retry_at or 0.0) - clock.monotonic()))


def _about(call: RememberedCall, report: CallReport) -> CallReport:
    if report.attempt_id == call.attempt_id:
        return report
    return CallReport(ReportStatus.UNREACHABLE, attempt_id=call.attempt_id)
