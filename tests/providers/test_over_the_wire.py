"""Nexbro and NetSapiens through the real sender, against the sandbox's own idea of their wire contracts."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from campaign.domain.calls import CallReport, FindingKind, OutboundCall, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.line import Line
from campaign.domain.verdicts import PauseFault, VerdictKind
from campaign.providers.http import LineSender
from campaign.providers.port import Provider
from campaign.providers.registry import make_provider
from campaign.providers.simulator import SimulatorHandle, SimulatorOptions, running_simulator
from campaign.storage.engine import SystemClock

KEY = "sk_canary_0123456789"
OUTCOMES = {
    "+14155550101": Disposition.ANSWERED,
    "+14155550102": Disposition.BUSY,
    "+14155550103": Disposition.NO_ANSWER,
    "+14155550104": Disposition.REJECTED,
    "+14155550105": Disposition.UNAVAILABLE,
    "+14155550106": Disposition.CANCELED,
}
LINES: dict[str, dict[str, Any]] = {
    "nexbro": {"extension": 234, "gateway_uuid": "g"},
    "nexbro other path": {"extension": 234, "gateway_uuid": "g", "cdr_path": "call-detail-record"},
    "netsapiens": {"domain": "example.com", "user": "1000"},
    "netsapiens contact first": {"domain": "example.com", "user": "1000", "ring_first": "contact", "agent": "2000"},
}
Answer = Callable[[Provider], Awaitable[None]]


@contextmanager
def sandbox(**words: Any) -> Iterator[SimulatorHandle]:
    script: dict[str, tuple[Disposition, ...]] = {number: (outcome,) for number, outcome in OUTCOMES.items()}
    options = SimulatorOptions(port=0, time_scale=500.0, script=script, **words)
    with running_simulator(options) as handle:
        yield handle


@asynccontextmanager
async def provider(kind: str, url: str, key: str = KEY) -> Any:
    name = kind.partition(" ")[0]
    line = Line(
        name="recall",
        provider=name,
        base_url=url if name == "nexbro" else f"{url}/ns-api/v2",
        credentials={"api_key" if name == "nexbro" else "token": SecretStr(key)},
        options=LINES[kind],
        timeout=5.0,
    )
    sender = LineSender(line, now=SystemClock().now)
    try:
        yield make_provider(line, sender)
    finally:
        await sender.aclose()


def ref(number: str) -> str:
    return number.removeprefix("+").rjust(32, "0")


def remembered(number: str, call_id: str | None) -> RememberedCall:
    return RememberedCall(int(number[-2:]), ref(number), number, call_id, SystemClock().now())


async def ended(asked: Provider, call: RememberedCall) -> CallReport:
    for _ in range(200):
        (report,) = await asked.results([call])
        if report.status is ReportStatus.FINAL:
            return report
        assert report.status in (ReportStatus.PENDING, ReportStatus.MISSING), report
        await asyncio.sleep(0.05)
    raise AssertionError("no result within ten seconds")


@pytest.mark.parametrize("kind", LINES)
def test_every_outcome_comes_back_as_it_was(kind: str) -> None:
    # Given a sandbox that knows how each number will end, When all are called, Then the results say so
    async def run(url: str) -> dict[str, Disposition | None]:
        async with provider(kind, url) as asked:
            found = {}
            for number in OUTCOMES:
                verdict = await asked.originate(OutboundCall(ref(number), number))
                assert verdict.kind is VerdictKind.PLACED, verdict
                found[number] = (await ended(asked, remembered(number, verdict.call_id))).disposition
            return found

    with sandbox() as handle:
        assert asyncio.run(run(handle.url)) == OUTCOMES


@pytest.mark.parametrize("kind", LINES)
def test_a_call_whose_answer_was_lost_is_found_and_one_that_was_not_placed_is_absent(kind: str) -> None:
    # Given an ended call as the canary, one that was placed while its answer was cut, one whose request was lost
    async def run(handle: SimulatorHandle) -> None:
        async with provider(kind, handle.url) as asked:
            canary = remembered("+14155550102", None)
            verdict = await asked.originate(OutboundCall(canary.our_ref, canary.phone))
            canary = remembered("+14155550102", verdict.call_id)
            await ended(asked, canary)
            looked: dict[str, FindingKind] = {}
            for number, fault in (
                ("+14155550103", "reset_after,on=originate"),
                ("+14155550104", "reset,on=originate"),
            ):
                fault_id = await asyncio.to_thread(handle.add_fault, fault)
                call = remembered(number, None)
                verdict = await asked.originate(OutboundCall(call.our_ref, number))
                assert verdict.kind is VerdictKind.UNCONFIRMED
                await asyncio.to_thread(handle.remove_fault, fault_id)
                await asyncio.sleep(0.5)  # the sandbox's own clock runs; its calls are over by then
                finding = await asked.find(call, canary)
                looked[number] = finding.kind
                assert (await asked.find(call, None)).kind in (FindingKind.FOUND, FindingKind.BLIND)
            # When they are looked for, Then the one is found and the other is proved absent
            assert looked == {"+14155550103": FindingKind.FOUND, "+14155550104": FindingKind.ABSENT}

    with sandbox() as handle:
        asyncio.run(run(handle))


@pytest.mark.parametrize("kind", ["nexbro", "netsapiens"])
def test_check_and_cancel(kind: str) -> None:
    async def run(url: str) -> None:
        async with provider(kind, url, key="wrong") as asked:
            assert (await asked.check()).fault is PauseFault.AUTH
        async with provider(kind, url) as asked:
            assert (await asked.check()).kind is VerdictKind.PLACED
            number = "+14155550101"
            verdict = await asked.originate(OutboundCall(ref(number), number))
            call = remembered(number, verdict.call_id)
            assert await asked.cancel(call)
            assert (await ended(asked, call)).disposition is Disposition.CANCELED
            assert not await asked.cancel(call)

    with sandbox(keys={kind: SecretStr(KEY)}) as handle:
        handle.configure(time_scale=1.0)
        asyncio.run(run(handle.url))
