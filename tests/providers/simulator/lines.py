"""A line of each provider that points at a running simulator, and the calls that go over it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from campaign.domain.calls import CallReport, OutboundCall, RememberedCall, ReportStatus
from campaign.domain.line import Line
from campaign.domain.verdicts import Verdict
from campaign.providers.http import LineSender
from campaign.providers.port import Provider
from campaign.providers.registry import make_provider
from campaign.providers.simulator import SimulatorHandle

CALLER = "+14155550100"


@dataclass(frozen=True)
class LineKind:
    """How a line of one provider is configured. ``base`` is what follows the simulator's URL in ``base_url``."""

    provider: str
    base: str = ""
    credential: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


LINES: dict[str, LineKind] = {
    "sandbox": LineKind("sandbox"),
    "nexbro": LineKind(
        "nexbro", "", "api_key", {"extension": 234, "gateway_uuid": "5b2c0d6e-0000-4000-8000-0000000000aa"}
    ),
    "nexbro, flat path": LineKind(
        "nexbro",
        "/line/flat",
        "api_key",
        {"extension": 234, "gateway_uuid": "5b2c0d6e", "cdr_path": "call-detail-record"},
    ),
    "netsapiens": LineKind("netsapiens", "/ns-api/v2", "token", {"domain": "example", "user": "1000"}),
    "netsapiens, contact first": LineKind(
        "netsapiens", "/ns-api/v2", "token", {"domain": "~", "user": "~", "ring_first": "contact", "agent": "1000"}
    ),
    "knovvu": LineKind(
        "knovvu",
        "",
        "access_token",
        {
            "project": "Recall",
            "tenant": "Default",
            "scenario_path": "http://127.0.0.1/scenario",
            "orchestrator_url": "http://127.0.0.1/orchestrator",
        },
    ),
    "mobtexting": LineKind("mobtexting", "/api/v2", "token", {"flow_id": "f-1"}),
    "mobtexting, json": LineKind("mobtexting", "/api/v2", "token", {"ivr_id": "7", "encoding": "json"}),
    "pathors": LineKind("pathors", "", "api_key", {"project_id": "proj_1"}),
    "pathors, older route": LineKind("pathors", "", "api_key", {"project_id": "proj_1", "route": "project"}),
}


def make_line(kind: LineKind, url: str, *, key: str = "sk_of_the_test", **fields: Any) -> Line:
    given: dict[str, Any] = {
        "name": "recall",
        "provider": kind.provider,
        "base_url": url + kind.base,
        "credentials": {kind.credential: key} if kind.credential else {},
        "options": dict(kind.options),
        "timeout": 5.0,
    }
    return Line.model_validate(given | fields)


class Caller:
    """Places calls over one line and asks about them."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._made = 0

    async def call(self, phone: str) -> tuple[Verdict, RememberedCall]:
        self._made += 1
        ref, sent_at = f"{self._made:032x}", time.time()
        verdict = await self.provider.originate(OutboundCall(ref, phone, CALLER, "autumn", {"Name": "Ada"}))
        return verdict, RememberedCall(self._made, ref, phone, verdict.call_id, sent_at, CALLER)

    async def result(self, call: RememberedCall, within: float = 5.0) -> CallReport:
        """Asks until the report is final; the last one where it never is."""
        deadline = time.monotonic() + within
        while True:
            (report,) = await self.provider.results([call])
            if report.status is ReportStatus.FINAL or time.monotonic() > deadline:
                return report
            await asyncio.sleep(0.01)


@asynccontextmanager
async def calling(simulator: SimulatorHandle, kind: LineKind, **fields: Any) -> AsyncIterator[Caller]:
    line = make_line(kind, simulator.url, **fields)
    sender = LineSender(line, now=time.time)
    try:
        yield Caller(make_provider(line, sender))
    finally:
        await sender.aclose()
