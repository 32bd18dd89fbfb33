"""What one seed is: the knobs of one world, drawn from its own random numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from campaign.domain.dispositions import Disposition
from campaign.domain.line import PollSchedule
from campaign.domain.plan import Caps, Hours, OnUnknown, Pace, Plan
from campaign.policies.hours import AT_ONCE
from campaign.policies.looking import LookRules

MIDNIGHT = 1_795_046_400.0
"""2026-11-19T00:00Z; the hours below are on the wall clock of UTC."""

CLOSES_AT = MIDNIGHT + 18 * 3600.0
LAG = 60.0
LATEST = 340.0
"""Seconds a request may lie about before the provider acts on it; the promise allows for lease + timeout + grace."""

BEYOND = 1500.0
"""The same where the promise is broken (residual risk a)."""

LONGEST_QUEUE = 600.0

_RETRY = {
    Disposition.NO_ANSWER: (60.0, 300.0, 900.0),
    Disposition.BUSY: (30.0, 120.0),
    Disposition.ERROR: (45.0,),
    Disposition.VOICEMAIL: (600.0,),
}
IMPATIENT = {**dict.fromkeys((Disposition.NO_ANSWER, Disposition.BUSY, Disposition.VOICEMAIL), (1.0, 5.0, 20.0)),
              Disposition.ERROR: (1.0,)}  # fmt: skip
_HOURS = Hours.model_validate({"zone": "UTC", "windows": [{"from": "08:00", "to": "18:00"}]})


@lru_cache(maxsize=256)
def _plan(
    on_unknown: OnUnknown,
    most: int,
    pace: float | None,
    flight: int | None,
    cap: int | None,
    *,
    impatient: bool,
    hours: bool,
) -> Plan:
    return Plan(
        max_attempts=most,
        retry=dict(IMPATIENT if impatient else _RETRY),
        hours=_HOURS if hours else None,
        pace=Pace(calls_per_second=pace, max_in_flight=flight),
        caps=Caps(per_day=cap),
        conflict_interval=90.0,
        max_conflicts=20,
        on_unknown=on_unknown,
    )


OFFICE_HOURS = _plan(OnUnknown.HOLD, 2, None, None, None, impatient=True, hours=True)


@dataclass(frozen=True, slots=True)
class Scenario:
    start: float
    storm_ends: float
    level: int
    plans: tuple[Plan, ...]
    numbers: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]
    rate: float
    max_in_flight: int
    workers: int
    risk: float
    faults: float
    lose_commit: float
    rules: LookRules
    latest: float
    freezes: tuple[float, ...]
    stuck: float
    """How likely a machine freezes just when a COMMIT of `sending` returns."""
    haste: float
    """How likely a doubt is signed for by somebody who cannot wait for it to be settled."""
    slow_looks: float
    """How likely an answer to settle takes minutes."""
    left_out: float
    """How likely a list leaves a call out that it must show (once per call)."""
    brief: float
    """The share of calls that are over within a minute; a conflict is met only where the call before still lasts."""
    spite: float
    """How likely a claim is followed at once by an opt-out or a pause."""
    queue: float
    """Seconds for which the provider may hold a call before it rings. What it does not hold rings at once."""
    cancels: bool
    """The provider shows what it holds, and takes it back."""
    margin: float
    """Seconds before closing from which no call leaves: for the queue, and for the request on its way."""
    flaky: float = 1.0
    """How often questions meet no answer, a slow one or one without the call, as a share of the usual."""


Climate = Callable[[Scenario], Scenario]
"""A world made harsher in one way, so that a rare fault is met soon. The right protocol must live in it, too."""


def temperate(scenario: Scenario) -> Scenario:
    return scenario


def draw(rng: Random, *, beyond: bool = False) -> Scenario:
    roughness = rng.choice((0.3, 0.6, 1.0))
    watches_hours = rng.random() < 0.1
    start = (
        CLOSES_AT - rng.random() * rng.choice((40.0, 900.0)) if watches_hours else MIDNIGHT + rng.random() * 86_400.0
    )
    level = rng.randrange(4)
    campaigns = 1 if rng.random() < 0.6 else 2
    crowded = rng.random() < 0.03
    phones = [f"+4930{n:07d}" for n in range(1, (14 if crowded else rng.randint(2, 4)) + 1)]
    give_up = rng.choice((400.0, 1800.0, 7200.0))
    poll = PollSchedule(first_after=20.0, every=15.0, at_most_every=300.0, give_up_after=give_up)
    queue = Random(start).choice((0.0, 120.0, LONGEST_QUEUE)) if watches_hours else 0.0
    return Scenario(
        start=start,
        storm_ends=start + rng.choice((120.0, 600.0, 2400.0)),
        level=level,
        plans=tuple(_draw_plan(rng, crowded=crowded, hours=watches_hours) for _ in range(campaigns)),
        numbers=tuple(tuple(p for p in phones if n == 0 or rng.random() < 0.6) for n in range(campaigns)),
        lines=("one", "two") if rng.random() < 0.2 else ("one",),
        rate=rng.choice((0.2, 1.0, 2.0, 5.0, 20.0)) if not crowded else rng.choice((5.0, 20.0)),
        max_in_flight=rng.choice((1, 2, 3, 5)) if not crowded else 14,
        workers=rng.choice((2, 2, 3)),
        risk=roughness * rng.choice((0.0, 0.01, 0.03)),
        faults=roughness * rng.choice((0.2, 0.5, 0.8)),
        lose_commit=roughness * rng.choice((0.0, 0.02, 0.1)),
        rules=LookRules(poll=poll, can_find=level >= 2, conflict_proves=level == 1, list_lag=LAG),
        latest=BEYOND if beyond else LATEST,
        freezes=rng.choice(((0.4, 1.0, 3.0), (20.0, 45.0), (2.0, 40.0, 100.0, 700.0))) if not crowded else (0.4, 1.0),
        stuck=rng.choice((0.0, 0.0, 0.15)),
        haste=0.2,
        slow_looks=0.3,
        left_out=0.3,
        brief=0.5 if level == 1 else 0.85,
        spite=rng.choice((0.0, 0.02, 0.05)),
        queue=queue,
        cancels=level == 3,
        margin=queue + AT_ONCE,
    )


def _draw_plan(rng: Random, *, crowded: bool, hours: bool) -> Plan:
    return _plan(
        rng.choice((OnUnknown.HOLD, OnUnknown.HOLD, OnUnknown.RETRY, OnUnknown.DONE)),
        rng.choice((1, 2, 3)),
        rng.choice((None, None, 0.5)) if not crowded else None,
        rng.choice((None, None, 1)) if not crowded else None,
        rng.choice((None, None, None, 2)),
        impatient=rng.random() < 0.5,
        hours=hours,
    )
