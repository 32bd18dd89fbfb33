"""Calls whose reference a restored database has lost are found by number, one after another, until none is left."""

import asyncio
import time
from dataclasses import replace

import pytest

from campaign.domain.calls import Finding, FindingKind, RememberedCall
from campaign.providers.registry import PROVIDERS, provider_class
from campaign.providers.simulator import SimulatorHandle, SimulatorOptions, running_simulator
from tests.providers.simulator.lines import LINES, calling

BY_NUMBER = [name for name in PROVIDERS if provider_class(name).capabilities.find_by_number]
TWICE, NEVER, CANARY = "+14155550103", "+14155550104", "+14155550102"


@pytest.mark.parametrize("kind", BY_NUMBER)
def test_every_lost_call_to_a_number_is_found_once_and_then_its_absence_is_proved(kind: str) -> None:
    # Given two calls to one number and none to another, all of which we have forgotten, and one that we know
    async def run(simulator: SimulatorHandle) -> tuple[list[str | None], list[Finding]]:
        async with calling(simulator, LINES[kind]) as caller:
            began, placed = time.time(), []
            _, canary = await caller.call(CANARY)
            await caller.result(canary)
            for _ in range(2):
                verdict, call = await caller.call(TWICE)
                await caller.result(call)
                placed.append(verdict.call_id)
            lost = RememberedCall(99, "9" * 32, TWICE, None, began, lost_until=time.time())
            # When each is looked for, past those that have been found
            findings = [await caller.provider.find(lost, canary)]
            for _ in range(2):
                lost = replace(lost, others=lost.others | {str(findings[-1].call_id)})
                findings.append(await caller.provider.find(lost, canary))
            findings.append(await caller.provider.find(replace(lost, phone=NEVER), canary))
            return placed, findings

    with running_simulator(SimulatorOptions(port=0, time_scale=500.0)) as simulator:
        placed, findings = asyncio.run(run(simulator))
    # Then both are, and nothing is thought to be found after that
    expected = [FindingKind.FOUND, FindingKind.FOUND, FindingKind.ABSENT, FindingKind.ABSENT]
    assert [finding.kind for finding in findings] == expected, findings
    assert {finding.call_id for finding in findings[:2]} == set(placed)


def test_there_are_providers_that_can_be_asked_so() -> None:
    assert {"sandbox", "nexbro", "mobtexting"} <= set(BY_NUMBER)
