"""An account is a line's name: an attempt is asked about through the line that placed it, whatever else changes."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from campaign.domain.plan import Plan
from campaign.domain.states import AttemptState
from campaign.services import campaigns
from campaign.storage.schema import attempts
from tests.chaos.lab import LINE, Lab, lab, lines_toml
from tests.chaos.processes import Child
from tests.chaos.verdict import judge
from tests.engine import add_campaign, numbers
from tests.servers import RedisServer

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

MANY = 24
PLAN = Plan(retry={})
SLOW_TO_TELL = {"mix": "answered=100", "result_lag": "5s"}
UNHURRIED = {"calls_per_second": 8.0, "timeout": "5s"}
OTHER = "another"


def open_calls(here: Lab, line: str) -> int:
    with here.store.read() as connection:
        query = select(func.count()).where(attempts.c.line == line, attempts.c.state == AttemptState.PLACED)
        return connection.execute(query).scalar_one()


def started_anew(here: Lab, worker: Child, **environment: str) -> None:
    """As a deploy does it."""
    worker.send(15)
    assert worker.wait(30.0) == 0
    worker.environment = {**worker.environment, **environment}
    worker.start()


def test_a_key_that_is_rotated_while_calls_are_open(
    redis_server: RedisServer, postgres_url: str, tmp_path: Path
) -> None:
    old = {**SLOW_TO_TELL, "keys": {"knovvu": "a-token"}}
    with lab(tmp_path, redis_server, postgres_url, old, UNHURRIED, "knovvu") as here:
        add_campaign(here.store, numbers(MANY), line=LINE, plan=PLAN)
        worker = here.worker("worker", 2)
        here.beat()
        assert here.wait(lambda: open_calls(here, LINE) >= 8), here.logs()
        # When the account takes another key from now on
        here.simulator.configure(keys={"knovvu": "another-token"})
        # Then the campaign is paused with the reason, and whoever is out keeps waiting for its result
        assert here.wait(here.whys), here.logs()
        assert "auth" in here.whys()[0]
        assert open_calls(here, LINE) >= 8
        # When the line is given the new key, and a person resumes
        started_anew(here, worker, CHAOS_TOKEN="another-token")
        campaigns.resume(here.store, "recall")
        # Then calls that were placed with the old key are asked about with the new one; nobody was lost or rung twice
        assert here.wait(here.completed), f"{here.target_states()} {here.states()} {here.logs()}"
        verdict = judge(here.store, here.simulator.ledger("calls"))
        assert verdict.clean, verdict.evidence()
        assert verdict.rings == MANY


def test_a_campaign_that_is_moved_to_another_account_while_calls_are_open(
    redis_server: RedisServer, postgres_url: str, tmp_path: Path
) -> None:
    with lab(tmp_path, redis_server, postgres_url, SLOW_TO_TELL, UNHURRIED) as here:
        # Given two lines, each an account of its own that knows nothing of the other's calls
        both = [
            lines_toml("sandbox", f"{here.simulator.url}/line/{name}", UNHURRIED).replace(LINE, name, 1)
            for name in (LINE, OTHER)
        ]
        (tmp_path / "lines.toml").write_text("\n".join(both))
        add_campaign(here.store, numbers(MANY), line=LINE, plan=PLAN)
        here.worker("worker", 2)
        here.beat()
        assert here.wait(lambda: open_calls(here, LINE) >= 8), here.logs()
        # When the campaign goes on through the other
        campaigns.set_values(here.store, "recall", {"line": OTHER})
        assert here.wait(here.completed), f"{here.target_states()} {here.states()} {here.logs()}"
        # Then each call was asked about where it was placed: every result is there
        verdict = judge(here.store, here.simulator.ledger("calls"))
        assert verdict.clean, verdict.evidence()
        with here.store.read() as connection:
            query = select(attempts.c.line, func.count()).where(attempts.c.disposition == "answered")
            told = {line: count for line, count in connection.execute(query.group_by(attempts.c.line))}
        placed = {name: account.placed for name, account in here.simulator.ledger().accounts.items()}
        assert told == placed
        assert min(placed.values()) >= 5
        assert sum(placed.values()) == MANY
