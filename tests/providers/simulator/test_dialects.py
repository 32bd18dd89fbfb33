"""Each real provider file against the simulator's dialect, over a real socket."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from campaign.domain.calls import FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import PauseFault, VerdictKind
from campaign.providers.simulator import SimulatorHandle, running_simulator, simulator_options
from campaign.providers.simulator.options import VARIANTS
from tests.providers.simulator.lines import LINES, LineKind, calling

T = TypeVar("T")
AT_ONCE = 1_000_000  # a time scale at which every call is over when its answer arrives
NUMBERS = {disposition: f"+1415555{200 + place:04}" for place, disposition in enumerate(Disposition)}
POLLED = [name for name, kind in LINES.items() if kind.provider != "pathors"]
SILENT = {"knovvu", "pathors", "pathors, older route"}  # nobody to ask about a call without an id, or at all
OTHER_PATH = {("nexbro", "flat_path"), ("nexbro, flat path", "nested_path")}
FINDS = {"sandbox", "nexbro", "netsapiens", "mobtexting"}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.fixture
def simulator() -> Iterator[SimulatorHandle]:
    script = {number: (disposition,) for disposition, number in NUMBERS.items()}
    with running_simulator(simulator_options(port=0, time_scale=AT_ONCE, script=script)) as handle:
        yield handle


@pytest.fixture(params=list(LINES), ids=str)
def kind(request: pytest.FixtureRequest) -> LineKind:
    return LINES[request.param]


@pytest.mark.parametrize("name", POLLED)
def test_every_outcome_is_read_as_the_ledger_says(simulator: SimulatorHandle, name: str) -> None:
    async def story() -> dict[str, Disposition | None]:
        # Given a number for each way in which a call may end
        async with calling(simulator, LINES[name]) as caller:
            read = {}
            for number in NUMBERS.values():
                # When it is called and asked for its result
                verdict, call = await caller.call(number)
                assert verdict.kind is VerdictKind.PLACED, verdict
                # A state that cannot be read stays open; a short patience is enough to see that
                unreadable = number == NUMBERS[Disposition.UNKNOWN]
                report = await caller.result(call, within=0.05 if unreadable else 5.0)
                read[number] = report.disposition if report.status is ReportStatus.FINAL else Disposition.UNKNOWN
            return read

    read = run(story())
    # Then it is what the dialect's word means
    calls = simulator.ledger("calls").calls
    assert calls is not None
    assert read == {call.number: call.reads_as for call in calls}
    assert {call.number: call.outcome for call in calls} == {number: kind for kind, number in NUMBERS.items()}


@pytest.mark.parametrize(
    ("name", "variant"),
    [(name, word) for name in POLLED for word in VARIANTS[LINES[name].provider] if (name, word) not in OTHER_PATH],
)
def test_every_variant_is_read_the_same(simulator: SimulatorHandle, name: str, variant: str) -> None:
    kind = LINES[name]
    simulator.configure(variants={kind.provider: [variant]})

    async def story() -> list[Disposition | None]:
        async with calling(simulator, kind) as caller:
            calls = [(await caller.call(NUMBERS[end]))[1] for end in (Disposition.ANSWERED, Disposition.BUSY)]
            return [(await caller.result(call)).disposition for call in calls]

    assert run(story()) == [Disposition.ANSWERED, Disposition.BUSY]


def test_goes_on_while_it_goes_on(simulator: SimulatorHandle, kind: LineKind) -> None:
    # Given calls that take their real time, When asked at once, Then nothing is final
    simulator.configure(time_scale=1)

    async def story() -> ReportStatus:
        async with calling(simulator, kind) as caller:
            _, call = await caller.call(NUMBERS[Disposition.ANSWERED])
            (report,) = await caller.provider.results([call])
            return report.status

    assert run(story()) in (ReportStatus.PENDING, ReportStatus.MISSING, ReportStatus.UNREACHABLE)
    assert simulator.ledger().live == 1


U, P, T429 = VerdictKind.UNCONFIRMED, VerdictKind.PAUSE, VerdictKind.THROTTLED
OURS = {"netsapiens": VerdictKind.PLACED}  # its id is ours: nothing is missing
FAULTS: list[tuple[str, VerdictKind, int, dict[str, VerdictKind]]] = [
    ("429,retry_after=2s", T429, 0, {}),
    ("429,retry_after=2s,retry_after_as=date", T429, 0, {}),
    ("503,retry_after=2s", T429, 0, {}),
    ("500", U, 0, {}),
    ("502_after", U, 1, {}),
    ("500_after", U, 1, {}),
    ("reset", U, 0, {}),
    ("reset_after", U, 1, {}),
    ("hang,seconds=3s", U, 0, {}),
    ("hang_after,seconds=3s", U, 1, {}),
    ("slow,seconds=3s", U, 1, {}),
    ("slow,seconds=10ms", VerdictKind.PLACED, 1, {}),
    ("drip,seconds=100ms", U, 1, {}),
    ("drip,seconds=0.1ms", VerdictKind.PLACED, 1, {}),
    ("giant", U, 1, {}),
    ("cut_after", U, 1, {}),
    ("garbage", U, 1, {}),
    ("html", U, 1, {}),
    ("empty", U, 1, OURS),
    ("no_id", U, 1, OURS),
    ("401", P, 0, {}),
    ("402", P, 0, {}),
    ("403", P, 0, {}),
    ("307", P, 0, {}),
]


@pytest.mark.parametrize(("fault", "expected", "placed", "otherwise"), FAULTS, ids=[each[0] for each in FAULTS])
@pytest.mark.parametrize("name", ["sandbox", "nexbro", "netsapiens", "knovvu", "mobtexting", "pathors"])
def test_every_fault_has_its_verdict_and_its_truth(
    simulator: SimulatorHandle,
    name: str,
    fault: str,
    expected: VerdictKind,
    placed: int,
    otherwise: dict[str, VerdictKind],
) -> None:
    simulator.add_fault(fault)

    async def story() -> Any:
        patience = 0.8 if fault.endswith(("seconds=3s", "seconds=100ms")) else 5.0
        async with calling(simulator, LINES[name], timeout=patience) as caller:
            return (await caller.call(NUMBERS[Disposition.ANSWERED]))[0]

    verdict = run(story())
    assert verdict.kind is otherwise.get(name, expected), verdict
    if "retry_after" in fault:
        assert verdict.retry_after == pytest.approx(2.0, abs=1.1)
    ledger = simulator.ledger()
    assert (ledger.requests, ledger.placed) == (1, placed)
    assert sum(ledger.refused.values()) == 1 - placed


@pytest.mark.parametrize(("status", "fault"), [("401", PauseFault.AUTH), ("402", PauseFault.CREDIT)])
def test_a_broken_account_is_named_and_mended(
    simulator: SimulatorHandle, kind: LineKind, status: str, fault: PauseFault
) -> None:
    rule = simulator.add_fault(status)

    async def story() -> list[Any]:
        async with calling(simulator, kind) as caller:
            before = (await caller.call("+14155550001"))[0]
            simulator.remove_fault(rule)
            return [before, (await caller.call("+14155550001"))[0]]

    before, after = run(story())
    assert before.fault is fault
    assert after.kind is VerdictKind.PLACED


@pytest.mark.parametrize("kind", [kind for kind in LINES.values() if kind.credential], ids=lambda kind: kind.provider)
def test_a_wrong_key_is_refused(simulator: SimulatorHandle, kind: LineKind) -> None:
    simulator.configure(keys={kind.provider: "sk_another"})

    async def story() -> Any:
        async with calling(simulator, kind) as caller:
            return (await caller.call("+14155550001"))[0]

    assert run(story()).fault is PauseFault.AUTH


def test_a_line_can_be_checked(simulator: SimulatorHandle, kind: LineKind) -> None:
    async def story() -> Any:
        async with calling(simulator, kind) as caller:
            return await caller.provider.check()

    assert run(story()).kind is VerdictKind.PLACED
    assert simulator.ledger().requests == 0


def test_an_outage_is_not_sent(simulator: SimulatorHandle) -> None:
    # Given a server that is down, When it is dialled, Then nothing has left; And it comes back on the same port
    async def story() -> list[VerdictKind]:
        async with calling(simulator, LINES["sandbox"]) as caller:
            simulator.down(4.0)
            while simulator.healthy():
                await asyncio.sleep(0.01)
            kinds = [(await caller.call("+14155550001"))[0].kind]
            while not simulator.healthy():
                await asyncio.sleep(0.01)
            return [*kinds, (await caller.call("+14155550001"))[0].kind]

    assert run(story()) == [VerdictKind.NOT_SENT, VerdictKind.PLACED]


@pytest.mark.parametrize("name", ["sandbox", "pathors", "pathors, older route"])
def test_one_number_is_in_one_call(simulator: SimulatorHandle, name: str) -> None:
    simulator.configure(time_scale=1)

    async def story() -> list[VerdictKind]:
        async with calling(simulator, LINES[name]) as caller:
            return [(await caller.call("+14155550001"))[0].kind for _ in range(2)]

    assert run(story()) == [VerdictKind.PLACED, VerdictKind.CONFLICT]
    ledger = simulator.ledger()
    assert (ledger.placed, ledger.refused, ledger.double_rings) == (1, {"conflict": 1}, 0)


def test_somebody_else_may_hold_a_number(simulator: SimulatorHandle) -> None:
    simulator.add_fault("conflict,numbers=+1415555*,lasts=1h")

    async def story() -> list[VerdictKind]:
        found = []
        for name in ("sandbox", "pathors"):
            async with calling(simulator, LINES[name]) as caller:
                found += [(await caller.call(number))[0].kind for number in ("+14155550001", "+886912345678")]
        return found

    assert run(story()) == [VerdictKind.CONFLICT, VerdictKind.PLACED] * 2


@pytest.mark.parametrize("name", [*POLLED, "pathors", "pathors, older route"])
def test_a_lost_answer_is_found(simulator: SimulatorHandle, name: str) -> None:
    # Given a call that was placed although its answer was lost, and one before it
    async def story() -> tuple[Any, Disposition | None]:
        async with calling(simulator, LINES[name]) as caller:
            _, canary = await caller.call(NUMBERS[Disposition.BUSY])
            simulator.add_fault("reset_after,times=1")
            verdict, call = await caller.call(NUMBERS[Disposition.ANSWERED])
            assert verdict.kind is VerdictKind.UNCONFIRMED
            # When it is looked for
            finding = await caller.provider.find(call, canary)
            found = replace(call, call_id=finding.call_id)
            return finding, (await caller.result(found, within=0.05 if name in SILENT else 5.0)).disposition

    finding, disposition = run(story())
    # Then it is found, and by its id its result
    if name == "knovvu":
        assert finding.kind is FindingKind.UNABLE
        return
    assert finding.kind is FindingKind.FOUND, finding
    assert disposition is (None if name.startswith("pathors") else Disposition.ANSWERED)


@pytest.mark.parametrize("name", [*POLLED, "pathors"])
def test_a_call_never_placed_is_absent_only_with_proof(simulator: SimulatorHandle, name: str) -> None:
    async def story() -> list[FindingKind]:
        async with calling(simulator, LINES[name]) as caller:
            _, canary = await caller.call(NUMBERS[Disposition.BUSY])
            simulator.add_fault("reset,times=1")
            _, call = await caller.call(NUMBERS[Disposition.ANSWERED])
            kinds = [(await caller.provider.find(call, None)).kind]
            kinds.append((await caller.provider.find(call, canary)).kind)
            simulator.add_fault("page_loss,on=all")
            kinds.append((await caller.provider.find(call, canary)).kind)
            return kinds

    provider = LINES[name].provider
    proved = FindingKind.ABSENT if provider in FINDS else FindingKind.BLIND
    expected = [FindingKind.BLIND, proved, FindingKind.BLIND]
    assert run(story()) == (expected if provider != "knovvu" else [FindingKind.UNABLE] * 3)


@pytest.mark.parametrize("name", [name for name in POLLED if LINES[name].provider in FINDS])
def test_a_lagging_list_is_no_proof_by_itself(simulator: SimulatorHandle, name: str) -> None:
    # Given a call that lists do not show yet, When it is looked for without a canary, Then nobody claims its absence
    async def story() -> FindingKind:
        async with calling(simulator, LINES[name]) as caller:
            simulator.add_fault("list_lag,seconds=1h")
            simulator.add_fault("reset_after")
            _, call = await caller.call(NUMBERS[Disposition.ANSWERED])
            return (await caller.provider.find(call, None)).kind

    found = run(story())
    assert found in (FindingKind.BLIND, FindingKind.FOUND)
    assert found is FindingKind.BLIND or LINES[name].provider == "netsapiens"


@pytest.mark.parametrize(
    "name", [name for name in POLLED if LINES[name].provider in ("sandbox", "nexbro", "netsapiens")]
)
def test_a_cancel_ends_the_call(simulator: SimulatorHandle, name: str) -> None:
    simulator.configure(time_scale=1)

    async def story() -> tuple[bool, bool, Disposition | None]:
        async with calling(simulator, LINES[name]) as caller:
            _, call = await caller.call(NUMBERS[Disposition.ANSWERED])
            gone, again = await caller.provider.cancel(call), await caller.provider.cancel(call)
            return gone, again, (await caller.result(call)).disposition

    assert run(story()) == (True, False, Disposition.CANCELED)
    assert simulator.ledger().live == 0


@pytest.mark.parametrize("name", POLLED)
def test_a_swallowed_result_never_shows(simulator: SimulatorHandle, name: str) -> None:
    simulator.add_fault("swallow")

    async def story() -> ReportStatus:
        async with calling(simulator, LINES[name]) as caller:
            _, call = await caller.call(NUMBERS[Disposition.BUSY])
            return (await caller.result(call, within=0.05)).status

    assert run(story()) is not ReportStatus.FINAL
    assert simulator.ledger().ended == {Disposition.BUSY: 1}


@pytest.mark.parametrize("name", ["sandbox", "knovvu"])
def test_a_batch_with_a_stranger_in_it(simulator: SimulatorHandle, name: str) -> None:
    simulator.add_fault("foreign,on=results")

    async def story() -> list[Disposition | None]:
        async with calling(simulator, LINES[name]) as caller:
            ends = (Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ANSWERED)
            calls = [(await caller.call(NUMBERS[end]))[1] for end in ends]
            return [report.disposition for report in await caller.provider.results(calls)]

    assert run(story()) == [Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ANSWERED]


def test_taiwan_is_one_number_on_both_routes(simulator: SimulatorHandle) -> None:
    async def story() -> None:
        for name in ("pathors", "pathors, older route"):
            async with calling(simulator, LINES[name]) as caller:
                assert (await caller.call("+886912345678"))[0].kind is VerdictKind.PLACED

    run(story())
    assert simulator.ledger("numbers").calls_per_number == {"+886912345678": 2}


def test_two_lines_have_two_accounts(simulator: SimulatorHandle) -> None:
    async def story() -> None:
        for name in ("nexbro", "nexbro, flat path"):
            async with calling(simulator, LINES[name]) as caller:
                await caller.call("+14155550001")

    run(story())
    accounts = simulator.ledger().accounts
    assert {name: account.placed for name, account in accounts.items()} == {"nexbro": 1, "flat": 1}
