"""Settling doubts: was the call whose answer was lost ever placed? Asked of the provider, decided by the lifecycle."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from campaign.domain.calls import Finding, FindingKind, RememberedCall
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.states import AttemptState
from campaign.policies.events import Looked
from campaign.policies.restoring import as_of_the_last
from campaign.providers.port import Provider
from campaign.services.looking import Kind, Look, Looks
from campaign.services.outside import Outside
from campaign.storage import attempt_rows
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

KIND = Kind("settle", AttemptState.UNCONFIRMED, requests=3, at_once=10)


@dataclass(slots=True)
class Settler:
    """One line's doubts in one process."""

    line: Line
    provider: Provider
    outside: Outside
    _looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        self._looks = Looks(KIND, self.line, self.outside)

    async def run(self, seconds: float) -> None:
        """Look for every unconfirmed attempt that is due, for at most ``seconds``."""
        await self._looks.run(seconds, self._look)

    async def _look(self, batch: Sequence[Look]) -> None:
        outside = self.outside
        for call, token in batch:
            known = await outside.in_thread(_known, outside.store, self.line, self.provider, call)
            finding = await self._find(replace(call, others=call.others | known.others), known.canary)
            # The earlier of two clocks: a worker whose own is ahead must not see an absence age before its time, and
            # one whose own is behind asks for a stretch of time that may end before the call.
            finding = as_of_the_last(replace(finding, as_of=min(finding.as_of, known.now)), call)
            finding = await outside.in_thread(_not_anothers, outside.store, self.line.name, call, finding)
            reach("settle.after_look")
            outside.recorder.put((call.attempt_id, Looked(token, finding)))

    async def _find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        if call.lost_until is not None and not self.provider.capabilities.find_by_number:
            return Finding(FindingKind.UNABLE, as_of=0.0)  # its reference is lost, too
        try:
            return await self.provider.find(call, canary)
        except Exception as error:  # a fault of ours is no evidence of anything
            log.error("line %s: looking for a call raised %s", self.line.name, type(error).__name__)
            return Finding(FindingKind.UNREACHABLE, as_of=0.0)


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know before we look: a call that every list must show, the calls to the number that are certainly other
    attempts of ours, and the time by the shared clock."""

    canary: RememberedCall | None
    others: frozenset[str]
    now: float


def _known(store: Store, line: Line, provider: Provider, call: RememberedCall) -> _Known:
    with store.read() as connection:
        now = store.now(connection)
        canary = attempt_rows.canary(connection, line.name, now - provider.capabilities.list_lag)
        return _Known(canary, attempt_rows.other_calls(connection, line.name, call), now)


def _not_anothers(store: Store, line: str, call: RememberedCall, finding: Finding) -> Finding:
    """A call that is taken for another attempt's proves nothing about this one. If it certainly is the other's, the
    next look passes it over; if it only was thought to be, it may be this one's all the same."""
    if finding.kind is not FindingKind.FOUND or finding.call_id is None:
        return finding
    with store.read() as connection:
        owner = attempt_rows.ids_by_call_id(connection, line, [finding.call_id]).get(finding.call_id)
    if owner is None or owner == call.attempt_id:
        return finding
    return replace(finding, kind=FindingKind.BLIND, call_id=None, report=None, reason="found another attempt's call")
