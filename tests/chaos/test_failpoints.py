"""Every failpoint times {kill, raise, delay}, on real processes, real Redis and PostgreSQL; the ledger is the judge.

A case is a whole campaign: a file is read by the worker, dialled, polled, doubted, settled, and tried again by a retry
batch, while somebody else is being erased. The failpoints of two stages are armed at once, each for its first passage
only; every one must have been passed.
"""

import io
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaign.domain import failpoints
from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import ErasureKey
from campaign.domain.plan import Plan
from campaign.domain.states import AttemptState
from campaign.intake.reading import Reading
from campaign.services import campaigns, erasing, retry_batches, uploads
from tests.chaos.forked import ROOT
from tests.chaos.lab import LINE, Lab, lab
from tests.chaos.verdict import Verdict, judge
from tests.engine import numbers
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.chaos

ACTIONS = ("kill", "raise", "delay:3")
TOGETHER = (("claim", "intake"), ("send", "retry"), ("record", "erase"), ("poll", "settle"))
"""Stages that one case arms: two that come at different times, or in different orders. A case takes half a minute."""

CASES = [(stages, action) for stages in TOGETHER for action in ACTIONS]
AT_ONCE = 5
HOW_MANY = 20
NAME = "recall"
LATER = 3
"""Numbers in each of the campaigns that are dialled after the failpoints, until somebody has been called: where all
calls of a line are lost before the first has rung, nothing can prove them absent until its list has shown one."""
PLAN = Plan(retry={}, max_attempts=3)
WITHIN = 120.0
EVERY = 0.3
"""Seconds between two looks: several cases look at once."""
KEY = ErasureKey("a key that every process has")
SOMEBODY = "+14155550199"

QUICK = {
    "timeout": "1s",
    "settle_after": "500ms",
    "settle_grace": "0s",
    "poll": {"first_after": "200ms", "every": "300ms", "at_most_every": "1s", "give_up_after": "10m"},
}
TROUBLE = ("reset:1,nth=1,numbers=+12025550003/+12025550004", "reset_after:1,nth=1,numbers=+12025550005")


Case = tuple[tuple[str, str], str]


@dataclass(slots=True)
class Result:
    verdict: Verdict
    passed: set[str]
    fires: int
    completed: bool
    logs: str


def test_every_failpoint_is_reached_somewhere() -> None:
    found = subprocess.run(
        ["grep", "-rhoE", r'reach\(f?"[a-z_.{}]+"\)', str(ROOT / "campaign"), str(ROOT / "workers"), "--include=*.py"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    looks = [name.replace("{self.kind.name}", kind) for name in found if "{" in name for kind in ("poll", "settle")]
    passed = [*(name for name in found if "{" not in name), *(name.replace("(f", "(") for name in looks)]
    assert sorted(passed) == sorted(f'reach("{name}")' for name in failpoints.NAMES)
    assert sorted(name for stages in TOGETHER for name in _of(stages)) == sorted(failpoints.NAMES)


@pytest.fixture(scope="module")
def results(
    redis_server: RedisServer, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Result]]:
    """All cases, a few at once: most of their time is waiting for leases."""
    servers = [RedisServer() for _ in range(AT_ONCE)]
    for server in servers:
        server.start()

    folders = [tmp_path_factory.mktemp("failpoint") for _ in CASES]  # here: the factory is not made for threads

    def run(case: Case, folder: Path) -> Result:
        redis = servers.pop()
        try:
            return _run(case, redis, postgres_server, folder)
        finally:
            servers.append(redis)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(CASES, pool.map(run, CASES, folders), strict=True))
    yield found
    for server in servers:
        server.remove()


@pytest.mark.parametrize(
    ("stages", "action"), CASES, ids=lambda words: words if isinstance(words, str) else "+".join(words)
)
def test_nobody_is_rung_twice_and_nobody_is_lost(
    results: Mapping[Case, Result], stages: tuple[str, str], action: str
) -> None:
    result = results[stages, action]
    assert result.passed == set(_of(stages)), result.logs
    assert result.completed, result.logs
    assert result.verdict.clean, result.verdict.evidence()
    assert result.fires == 1


def _of(stages: tuple[str, str]) -> list[str]:
    return [name for name in failpoints.NAMES if name.partition(".")[0] in stages]


def _run(case: Case, redis: RedisServer, postgres: PostgresServer, folder: Path) -> Result:
    stages, action = case
    names = _of(stages)
    armed = ",".join(f"{name}={action}@once:{folder / name}" for name in names)
    url = postgres.create_database("template_campaign")
    options = {"mix": "answered=60,busy=40", "faults": list(TROUBLE)}
    with lab(folder, redis, url, options, QUICK) as here:
        _upload(here, NAME, numbers(HOW_MANY))
        erasing.ask(here.store, KEY, [SOMEBODY])
        here.worker("worker", 2, CAMPAIGN_FAILPOINT=armed, CAMPAIGN_ERASURE_KEY=KEY.secret)
        here.beat()
        here.wait(lambda: all((folder / name).exists() for name in names), 10.0, EVERY)
        _dial_until_somebody_is_called(here)
        completed = here.wait(lambda: here.completed() and len(here.states()) > 0, WITHIN, EVERY)
        retry_batches.plan_batch(here.store, NAME, ["busy"])
        fired = here.wait(lambda: _fires(here) == 1, 20.0, EVERY)
        completed = completed and fired and here.wait(here.completed, WITHIN, EVERY)
        completed = completed and here.wait(lambda: erasing.standing(here.store, KEY).waiting == 0, WITHIN, EVERY)
        verdict = judge(here.store, here.simulator.ledger("calls"), (Disposition.BUSY,))
        passed = {name for name in names if (folder / name).exists()}
        return Result(verdict, passed, _fires(here), completed, here.logs() + str(here.target_states()))


def _upload(here: Lab, name: str, phones: Sequence[str]) -> None:
    made = campaigns.create(here.store, name, LINE, PLAN)
    sheet = "phone\n" + "".join(f"{phone}\n" for phone in phones)
    uploads.receive(here.store, made.id, io.BytesIO(sheet.encode()), "numbers.csv", Reading())
    campaigns.start(here.store, name)


def _dial_until_somebody_is_called(here: Lab) -> None:
    """On a slow machine a failpoint's first passage, and so its kill, may take these calls too."""
    for again in range(len(failpoints.NAMES)):
        first = HOW_MANY + again * LATER
        _upload(here, f"later-{again}", numbers(first + LATER)[first:])
        if here.wait(lambda: AttemptState.ENDED in here.states(), 10.0, EVERY):
            return


def _fires(here: Lab) -> int:
    return sum(len(batch.fires) for batch in retry_batches.list_batches(here.store, NAME))
