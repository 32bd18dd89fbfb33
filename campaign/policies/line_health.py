"""How well a line is: its silence, its slowness, its breaker. Folded from what its calls met, one signal at a time."""

from dataclasses import dataclass, replace
from enum import StrEnum

from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState

FAILURES_TO_BREAK = 5
LONGEST_SILENCE = 3600.0
NOT_READY_SILENCE = 30.0
FIRST_BREAK = 5.0
LONGEST_BREAK = 300.0
PROBE_LEASE = 120.0
SLOWEST = 0.05
RECOVERY_STEP = 0.1
RECOVERY_EVERY = 1.0


class SignalKind(StrEnum):
    OK = "ok"  # the provider took the request and answered sensibly
    FAILED = "failed"  # no connection, a broken answer, a 5xx
    THROTTLED = "throttled"  # 429, or 503 that says when
    NOT_READY = "not_ready"  # the agent or extension is not there
    UNTRIED = "untried"  # the breaker's probe will not leave: given back, or its holder died


@dataclass(frozen=True, slots=True)
class Signal:
    """``retry_after`` in seconds from now, where the provider said so."""

    kind: SignalKind
    reason: str = ""
    retry_after: float | None = None


def after_signals(health: LineHealth, signals: list[Signal], now: float) -> LineHealth:
    """The health after all ``signals`` of one batch, in the order in which they were met."""
    slowed_already = False
    for signal in signals:
        if signal.kind is SignalKind.THROTTLED:
            health = _throttled(health, signal, now, halve=not slowed_already)
            slowed_already = True
        else:
            health = _STEPS[signal.kind](health, signal, now)
    return health


def _ok(health: LineHealth, _signal: Signal, now: float) -> LineHealth:
    health = replace(health, failures=0, trips=0)
    if health.state in (LineState.BROKEN, LineState.PROBING):
        # Ten thousand may be due after an outage: begin at a quarter of the pace and climb.
        factor = min(health.pace_factor, 0.25)
        return replace(
            health,
            state=LineState.SLOWED,
            why="recovering",
            not_before=_silence(health),
            pace_factor=factor,
            changed_at=now,
        )
    if health.state is LineState.SLOWED and now - health.changed_at >= RECOVERY_EVERY:
        return _climb(health, now)
    return health


def _silence(health: LineHealth) -> float:
    """Until when the line must be still whatever comes: a probe's time is no silence, all else may be Retry-After."""
    return 0.0 if health.state is LineState.PROBING else health.not_before


def _climb(health: LineHealth, now: float) -> LineHealth:
    factor = min(1.0, health.pace_factor + RECOVERY_STEP)
    if factor < 1.0:
        return replace(health, pace_factor=factor, changed_at=now)
    return replace(health, state=LineState.OPEN, why=None, pace_factor=1.0, changed_at=now)


def _failed(health: LineHealth, signal: Signal, now: float) -> LineHealth:
    health = replace(health, failures=health.failures + 1)
    probing = health.state is LineState.PROBING
    if health.state is LineState.BROKEN or (health.failures < FAILURES_TO_BREAK and not probing):
        return health
    wait = min(FIRST_BREAK * 2.0 ** min(health.trips, 10), LONGEST_BREAK)
    return replace(
        health,
        state=LineState.BROKEN,
        why=f"{health.failures} failures in a row, the last: {signal.reason}",
        not_before=max(_silence(health), now + wait),
        trips=health.trips + 1,
        changed_at=now,
    )


def _throttled(health: LineHealth, signal: Signal, now: float, *, halve: bool) -> LineHealth:
    wait = min(signal.retry_after if signal.retry_after is not None else 1.0, LONGEST_SILENCE)
    factor = max(SLOWEST, health.pace_factor / 2) if halve else health.pace_factor
    return replace(
        health,
        state=LineState.SILENT,
        why=f"the provider throttled us: {signal.reason}" if signal.reason else "the provider throttled us",
        not_before=max(_silence(health), now + wait),
        pace_factor=factor,
        failures=0,
        changed_at=now,
    )


def _not_ready(health: LineHealth, signal: Signal, now: float) -> LineHealth:
    wait = min(signal.retry_after if signal.retry_after is not None else NOT_READY_SILENCE, LONGEST_SILENCE)
    return replace(
        health, state=LineState.SILENT, why=signal.reason, not_before=max(_silence(health), now + wait), changed_at=now
    )


def _untried(health: LineHealth, _signal: Signal, now: float) -> LineHealth:
    """Nothing was learnt: another call may be the probe at once."""
    if health.state is not LineState.PROBING:
        return health
    return replace(health, state=LineState.BROKEN, not_before=now, changed_at=now)


_STEPS = {
    SignalKind.OK: _ok,
    SignalKind.FAILED: _failed,
    SignalKind.NOT_READY: _not_ready,
    SignalKind.UNTRIED: _untried,
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many calls may be claimed now; ``probe`` says that the one allowed is the breaker's test."""

    calls: int
    probe: bool
    health: LineHealth


def allow(health: LineHealth, wanted: int, now: float) -> Allowance:
    """What the line's health permits, and its health once that is taken."""
    if now < health.not_before:
        return Allowance(0, False, health)
    if health.state in (LineState.BROKEN, LineState.PROBING):
        probing = replace(health, state=LineState.PROBING, not_before=now + PROBE_LEASE, changed_at=now)
        return Allowance(min(1, wanted), True, probing)
    if health.state is LineState.SILENT:
        state = LineState.SLOWED if health.pace_factor < 1.0 else LineState.OPEN
        why = "recovering" if state is LineState.SLOWED else None
        health = replace(health, state=state, why=why, not_before=0.0, changed_at=now)
    return Allowance(wanted, False, health)


def may_send(health: LineHealth, probe: bool, now: float) -> bool:
    """The last-moment question for one claimed call: has the line fallen silent since it was claimed?"""
    if health.state is LineState.PROBING:
        return probe
    return now >= health.not_before and health.state is not LineState.BROKEN
