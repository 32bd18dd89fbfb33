"""The provider's own word wins: silence when it says so, a slow line after, and no attempt lost to its refusals."""

import time
from pathlib import Path

import pytest

from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.services import campaigns
from campaign.storage import line_rows
from tests.engine import add_campaign
from tests.engine import numbers as many_numbers
from tests.scenarios import pace
from tests.scenarios.checks import check
from tests.scenarios.kit import Stage, arrivals, phones, stage

pytestmark = pytest.mark.slow

ONCE = Plan(retry={})
ON_ITS_WAY = 3.0
"""Seconds after a refused request came until which others still do that had been committed before it was answered, the
answer read and recorded: on a busy machine each of them takes its time."""

PAUSED = {"no-key": "401", "no-access": "403", "no-credit": "402"}


def test_a_provider_that_says_when_is_left_alone_until_then(engine: Stage) -> None:
    # Given two lines; one is told to wait in seconds, one with a date
    told = {"seconds": "429,retry_after=6s", "date": "503,retry_after=6s,retry_after_as=date"}
    for block, line in enumerate(told, 11):
        add_campaign(engine.store, phones(block, 240), name=line, line=line, plan=ONCE)
    # When each is refused once in the middle of its campaign
    engine.wait(lambda: all(len(arrivals(engine, line)) >= 30 for line in told))
    for line, rule in told.items():
        engine.simulator.add_fault(f"{rule},account={line},times=1")
    for line in told:
        engine.wait_completed(line)
    for line in told:
        all_of_them, refused = arrivals(engine, line), arrivals(engine, line, refused=True)
        # Then it was silent until the time it was told, except for what was on its way
        (at,) = refused
        assert not [a for a in all_of_them if at + ON_ITS_WAY < a < at + 4.9], line
        # And then slow, and faster again
        first = min(a for a in all_of_them if a >= at + 4.9)
        after = [a for a in all_of_them if a >= first]
        assert len([a for a in after if a < first + 1.0]) <= 28, line
        assert _pace_factor(engine, line) > 0.5, line
        # And nobody paid for it
        assert check(engine, line, line, ONCE, exported=False) == 240


def test_a_wrong_key_no_access_and_no_credit_pause_at_once(engine: Stage) -> None:
    # Given three campaigns whose lines are refused from some moment on
    for block, line in enumerate(PAUSED, 14):
        add_campaign(engine.store, phones(block, 40), name=line, line=line, plan=ONCE)
    engine.wait(lambda: all(len(arrivals(engine, line)) >= 5 for line in PAUSED))
    for line, status in PAUSED.items():
        engine.simulator.add_fault(f"{status},account={line},lasts=6s")
    # When the refusals are read
    engine.wait(lambda: all(engine.state(line) is CampaignState.PAUSED for line in PAUSED))
    # Then each says why, and few requests were wasted
    for line, status in PAUSED.items():
        assert campaigns.get(engine.store, line).why
        assert len(arrivals(engine, line, refused=True)) <= 10, status
    # When it has been mended, and a person resumes
    time.sleep(6.0)
    for line in PAUSED:
        campaigns.resume(engine.store, line)
    for line in PAUSED:
        engine.wait_completed(line)
        # Then every number rings once: not one attempt was lost
        assert check(engine, line, line, ONCE, exported=False) == 40


@pytest.mark.alone
def test_ten_thousand_due_after_an_outage_meet_one_probe_and_never_more_than_the_limit(
    tmp_path: Path, clean_redis_url: str, empty_postgres_url: str
) -> None:
    # Given ten thousand due numbers, and a provider that answers within 200 ms
    with stage(
        tmp_path,
        database_url=empty_postgres_url,
        broker_url=clean_redis_url,
        lines={pace.LINE: pace.line_at(200.0, timeout="2s")},
        simulator={"time_scale": 100, "latency": "200ms"},
    ) as playing:
        pace.favour(playing.simulator.pid)
        add_campaign(playing.store, many_numbers(10_000), line=pace.LINE, plan=ONCE)
        playing.worker(2, "one")
        playing.worker(2, "two")
        playing.beat()
        playing.wait(lambda: pace.dialled(playing) > 200)
        # When nobody can connect for four seconds
        went_down = time.time()
        playing.simulator.down(4.0)
        time.sleep(5.0)
        playing.wait(lambda: bool(_since(playing, went_down + 3.0)))
        time.sleep(6.0)
        campaigns.cancel(playing.store, "recall")
        back = _since(playing, went_down + 3.0)
        ledger = playing.simulator.ledger()
        wasted = [row for row in playing.rows()[1] if row["state"] == "released" and row["counted"]]
    # Then one call tries first, and the others wait for its answer
    assert back[1] - back[0] >= 0.19
    # And the line comes back slowly, never above its limit
    assert ledger.max_per_second <= 200
    assert len([at for at in back if at < back[0] + 1.2]) < 110
    assert len(back) > 200
    # And what found nobody cost nothing
    assert not wasted
    assert ledger.double_rings == 0


def _pace_factor(playing: Stage, line: str) -> float:
    with playing.store.read() as connection:
        return line_rows.read_line(connection, line).health.pace_factor


def _since(playing: Stage, at: float) -> list[float]:
    return [instant for instant in arrivals(playing) if instant >= at]
