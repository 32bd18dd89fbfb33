"""Webhooks of each dialect that pushes, to a real receiver, read by the real provider files."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from campaign.domain.calls import CallReport, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.providers.port import Provider
from campaign.providers.simulator import SimulatorHandle, running_simulator, simulator_options
from tests.providers.simulator.lines import LINES, calling
from tests.providers.simulator.receiver import Receiver, receiving

NUMBER = "+14155550123"
SECRET = "whsec_of_the_test"
EVENTS = {"sandbox": 3, "pathors": 3, "mobtexting": 1, "netsapiens": 3, "nexbro": 3}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def simulator(receiver: Receiver) -> Iterator[SimulatorHandle]:
    targets = {dialect: {"url": receiver.url, "secret": SECRET} for dialect in EVENTS}
    options = simulator_options(port=0, time_scale=500, script={NUMBER: ["answered"]}, webhooks=targets)
    with running_simulator(options) as handle:
        yield handle


def dialled(simulator: SimulatorHandle, name: str) -> tuple[str | None, Provider]:
    """The provider's id of one call, and its provider, no longer usable for requests."""

    async def story() -> tuple[str | None, Provider]:
        async with calling(simulator, LINES[name]) as caller:
            verdict, _ = await caller.call(NUMBER)
            return verdict.call_id, caller.provider

    return asyncio.run(story())


def reports(provider: Provider, receiver: Receiver, count: int) -> list[CallReport]:
    return [report for each in receiver.wait_for(count) for report in provider.read_webhook(each)]


@pytest.mark.parametrize("name", list(EVENTS))
def test_the_provider_file_reads_what_is_posted(simulator: SimulatorHandle, receiver: Receiver, name: str) -> None:
    # Given a line whose webhooks are received, When a call is answered and ends
    call_id, provider = dialled(simulator, name)
    read = reports(provider, receiver, EVENTS[name])
    # Then every event is about this call
    ids = {report.call_id for report in read}
    assert len(ids) == 1
    assert call_id in (None, *ids)
    # And the last word is the result, where the dialect's events tell one at all
    if name in ("sandbox", "pathors", "mobtexting"):
        assert (read[-1].status, read[-1].disposition) == (ReportStatus.FINAL, Disposition.ANSWERED)
    else:
        assert {report.status for report in read} == {ReportStatus.PENDING}


@pytest.mark.parametrize("name", list(EVENTS))
def test_the_secret_travels_as_the_provider_lets_it(simulator: SimulatorHandle, receiver: Receiver, name: str) -> None:
    dialled(simulator, name)
    for delivery in receiver.wait_for(EVENTS[name]):
        shown = {
            "bearer": delivery.headers.get("authorization"),
            "header": delivery.headers.get("x-webhook-secret"),
            "query": delivery.query.get("token"),
        }
        carried = {"mobtexting": "bearer", "sandbox": "bearer", "netsapiens": "query"}.get(name, "header")
        assert {way: bool(value) for way, value in shown.items()} == {way: way == carried for way in shown}
        assert SECRET in str(shown[carried])


def test_pathors_never_says_the_number_but_the_session_knows_whose_call_it_was(
    simulator: SimulatorHandle, receiver: Receiver
) -> None:
    async def story() -> tuple[CallReport, str]:
        async with calling(simulator, LINES["pathors"]) as caller:
            _, call = await caller.call(NUMBER)
            deliveries = await asyncio.to_thread(receiver.wait_for, 3)
            assert all(NUMBER[1:] not in each.body.decode() for each in deliveries)
            (report,) = caller.provider.read_webhook(deliveries[-1])
            assert report.our_ref is None
            return await caller.provider.identify(report), call.our_ref

    report, our_ref = asyncio.run(story())
    assert (report.our_ref, report.disposition) == (our_ref, Disposition.ANSWERED)


def events(receiver: Receiver, count: int) -> list[str]:
    return [json.loads(each.body)["event"] for each in receiver.wait_for(count)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("webhook_twice", ["call.ringing"] * 2 + ["call.answered"] * 2 + ["call.ended"] * 2),
        ("webhook_shuffled", ["call.ended", "call.answered", "call.ringing"]),
    ],
)
def test_webhooks_come_twice_or_out_of_order(
    simulator: SimulatorHandle, receiver: Receiver, fault: str, expected: list[str]
) -> None:
    simulator.add_fault(fault)
    dialled(simulator, "sandbox")
    assert events(receiver, len(expected)) == expected


def test_what_is_told_about_a_call_waits_for_what_was_told_before() -> None:
    # Given a receiver that fails once, When a call rings, is answered and ends within milliseconds
    with receiving(500) as receiver:
        webhooks = {"sandbox": {"url": receiver.url}}
        options = simulator_options(port=0, time_scale=500, script={NUMBER: ["answered"]}, webhooks=webhooks)
        with running_simulator(options) as simulator:
            dialled(simulator, "sandbox")
            # Then the first event comes again before the second comes at all
            told = events(receiver, 4)
    assert told == ["call.ringing", "call.ringing", "call.answered", "call.ended"]


def test_a_lost_webhook_is_not_posted(simulator: SimulatorHandle, receiver: Receiver) -> None:
    # Given one call whose webhooks are lost and one after it
    simulator.add_fault("webhook_lost,times=1")
    simulator.add_fault("swallow,nth=2")
    dialled(simulator, "mobtexting")
    dialled(simulator, "mobtexting")
    dialled(simulator, "mobtexting")
    # Then only the third, whose result is not withheld either, is heard of
    receiver.wait_for(1)
    assert (len(receiver.deliveries), simulator.ledger().placed) == (1, 3)


def test_a_canceled_call_is_told_once(simulator: SimulatorHandle, receiver: Receiver) -> None:
    simulator.configure(time_scale=1)

    async def story() -> None:
        async with calling(simulator, LINES["sandbox"]) as caller:
            _, call = await caller.call(NUMBER)
            await asyncio.to_thread(receiver.wait_for, 1)
            assert await caller.provider.cancel(call)

    asyncio.run(story())
    bodies: list[Any] = [json.loads(each.body) for each in receiver.wait_for(2)]
    assert [body["event"] for body in bodies] == ["call.ringing", "call.ended"]
    assert bodies[-1]["call"]["outcome"] == "canceled"


def test_a_receiver_that_fails_is_tried_again_and_the_ledger_tells() -> None:
    with receiving(500, 503) as receiver:
        target = {"mobtexting": {"url": receiver.url}}
        with running_simulator(simulator_options(port=0, time_scale=500, mix="busy=1", webhooks=target)) as simulator:
            dialled(simulator, "mobtexting")
            receiver.wait_for(3)
            while "delivered" not in (told := simulator.ledger().webhooks):
                time.sleep(0.01)  # its answer has still to reach the sandbox
            assert told == {"answered 500": 1, "answered 503": 1, "answered 200": 1, "delivered": 1}
