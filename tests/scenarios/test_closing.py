"""Providers that hold calls in a queue, and a window that closes: nobody's telephone rings after hours."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from campaign.domain.plan import Hours, Plan, Window
from campaign.providers.simulator.ledger import CallRecord
from tests.engine import add_campaign
from tests.scenarios.kit import Stage, embedded, phones, stage

pytestmark = pytest.mark.slow

QUEUE = 8.0
"""Seconds for which the provider holds a call at most: ten minutes, 75 times as fast."""

OPEN_FOR = 30.0
POLL = {"first_after": "500ms", "every": "1s", "at_most_every": "10s", "give_up_after": "10m"}
LINES: dict[str, dict[str, Any]] = {
    "heeding": {"kind": "mobtexting", "queue_margin": "10s"},
    "taking-back": {"kind": "sandbox", "queue_margin": "4s", "poll": POLL, "timeout": "5s"},
    "unheeding": {"kind": "knovvu", "queue_margin": "0s", "calls_per_second": 8.0},
}


def noon(now: float) -> str:
    """A zone in which it is about noon, so that no midnight is near."""
    ahead = 12 - datetime.fromtimestamp(now, UTC).hour
    return f"Etc/GMT{-ahead:+d}"


def office(now: float) -> tuple[Plan, float]:
    """A plan whose window closes soon, and when it does."""
    wall = datetime.fromtimestamp(int(now + OPEN_FOR), ZoneInfo(noon(now)))
    window = Window.model_validate({"from": (wall - timedelta(hours=1)).time(), "to": wall.time()})
    hours = Hours(zone=noon(now), windows=(window,))
    return Plan(hours=hours, retry={}, conflict_interval=2.0), wall.timestamp()


def calls_of(playing: Stage, line: str) -> list[CallRecord]:
    calls = playing.simulator.ledger("calls").calls
    assert calls is not None
    return [call for call in calls if call.account == line]


def rang_after(calls: list[CallRecord], closes: float) -> list[tuple[float, float]]:
    """Calls that were still there when their turn came, and it came too late: when each was accepted and when it rang,
    in seconds after closing."""
    late = [call for call in calls if closes <= call.rings_at <= call.ends_at]
    return [(round(call.accepted_at - closes, 2), round(call.rings_at - closes, 2)) for call in late]


def test_no_telephone_rings_after_closing_though_the_provider_queues(tmp_path: Path) -> None:
    # Given three lines whose provider holds calls: one stops in time, one takes back, one was told not to care
    lines = {name: {"account": name, "calls_per_second": 4.0, **words} for name, words in LINES.items()}
    simulator = {"time_scale": 100, "faults": [f"queued,seconds={QUEUE}s"]}
    with stage(tmp_path, lines=lines, simulator=simulator) as playing, embedded(playing):
        playing.wait(playing.ticks)
        plan, closes = office(time.time())
        for block, line in enumerate(LINES, 41):
            add_campaign(playing.store, phones(block, 400), name=line, line=line, plan=plan)
        # When their window has closed, and whatever was held has had its turn
        while time.time() < closes + QUEUE + 2.0:
            time.sleep(0.2)
        playing.wait(lambda: playing.count("placed") == 0)
        made = {line: calls_of(playing, line) for line in LINES}
        attempts = playing.rows("taking-back")[1]
        reasons = {str(target["reason"]) for target in playing.rows("heeding")[0] if target["state"] == "waiting"}
    # Then only the line that was told so has rung anybody after hours: this test could fail
    assert all(len(calls) > 10 for calls in made.values()), {line: len(calls) for line, calls in made.items()}
    assert rang_after(made["heeding"], closes) == []
    assert rang_after(made["taking-back"], closes) == []
    assert rang_after(made["unheeding"], closes)
    # And what was taken back cost nobody an attempt, and each of those who rang one
    never_rang = {call.id for call in made["taking-back"] if call.rings_at > call.ends_at}
    assert never_rang
    uncounted = {attempt["call_id"] for attempt in attempts if not attempt["counted"] and attempt["call_id"]}
    assert uncounted == never_rang
    assert sum(attempt["counted"] for attempt in attempts) == len(made["taking-back"]) - len(never_rang)
    assert any("stops 10s before because the line may queue" in reason for reason in reasons), reasons
