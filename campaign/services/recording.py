"""Recording what happened to attempts: lock the rows, decide on what they say now, write the outcome. In bulk.

This is the only way by which an attempt changes after its claim, so a kill anywhere leaves either the state before or
the state after, and a stale message meets :func:`campaign.policies.lifecycle.decide` with the fresh row in its hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from campaign.domain.failpoints import reach
from campaign.domain.plan import Plan
from campaign.domain.rows import Attempt, Target
from campaign.domain.verdicts import Verdict
from campaign.policies.doubts import proves_an_earlier_call
from campaign.policies.events import Event, ProvedByConflict, Step
from campaign.policies.lifecycle import ALL_WELL, decide, may_pause
from campaign.policies.line_health import Signal, after_signals
from campaign.policies.looking import LookRules, conflict_proves_within
from campaign.storage import attempt_rows, campaign_rows, line_rows
from campaign.storage.attempt_rows import Pair
from campaign.storage.engine import Connection, Store

Happened = tuple[int, Event]
"""An attempt's id and what happened to it."""

News = Mapping[str, list[Signal]]
"""By line, what its calls met and it does not know yet."""


@dataclass(slots=True)
class _Desk:
    """The rows of one recording as they change under its events, and what must be written besides."""

    plans: Mapping[int, Plan]
    rules: Mapping[str, LookRules]
    now: float
    pairs: dict[int, Pair]
    attempts: dict[int, Attempt] = field(default_factory=dict)
    targets: dict[int, Target] = field(default_factory=dict)
    notes: list[dict[str, object]] = field(default_factory=list)
    signals: dict[str, list[Signal]] = field(default_factory=dict)
    pauses: dict[int, Verdict] = field(default_factory=dict)


def record(store: Store, rules: Mapping[str, LookRules], happened: Sequence[Happened]) -> None:
    """Apply events in order, in one transaction; then tell the lines how they fared.

    ``rules`` are by line name; a line that is no longer configured falls back to rules that only wait. Raises what the
    database raises; the caller may call again with the same events, since each is guarded by its attempt's token.
    """
    if not happened:
        return
    with store.write() as connection:
        news = record_in(connection, store, rules, happened)
        reach("record.before_commit")
    reach("record.after_commit")
    tell_lines(store, news)


def record_in(
    connection: Connection, store: Store, rules: Mapping[str, LookRules], happened: Sequence[Happened]
) -> News:
    """The same inside a transaction of the caller's, who tells the lines once it is committed. Only answers and calls
    that will not leave have anything to tell them."""
    if pausing := [attempt_id for attempt_id, event in happened if may_pause(event)]:
        campaign_rows.lock_of_attempts(connection, pausing)
    pairs = attempt_rows.lock_pairs(connection, sorted({attempt_id for attempt_id, _ in happened}))
    desk = _Desk({}, rules, store.now(connection), pairs)
    adopted = _adoptions(connection, desk, happened)
    desk.plans = campaign_rows.plans(connection, {pair.campaign_id for pair in desk.pairs.values()})
    for attempt_id, event in [*happened, *adopted]:
        if attempt_id in desk.pairs:
            _apply(desk, desk.pairs[attempt_id], event)
    _write(connection, desk)
    return {line: signals for line, signals in desk.signals.items() if _is_news(connection, line, signals, desk.now)}


def _adoptions(connection: Connection, desk: _Desk, happened: Sequence[Happened]) -> list[Happened]:
    """A conflict that an earlier, never settled attempt of ours on the number explains proves that one."""
    found: list[Happened] = []
    for attempt_id, event in happened:
        pair = desk.pairs.get(attempt_id)
        if pair is None or not proves_an_earlier_call(pair.attempt, event):
            continue
        rules = _rules(desk, pair.line)
        if not rules.conflict_proves:
            continue
        oldest = desk.now - conflict_proves_within(rules)
        earlier = attempt_rows.unknown_before(connection, pair.line, pair.phone, attempt_id, oldest)
        if earlier is not None:
            desk.pairs |= attempt_rows.lock_pairs(connection, [earlier])
            found.append((earlier, ProvedByConflict()))
    return found


def _rules(desk: _Desk, line: str) -> LookRules:
    return desk.rules.get(line) or LookRules(can_ask=False, can_find=False)


def _apply(desk: _Desk, pair: Pair, event: Event) -> None:
    attempt = desk.attempts.get(pair.attempt.id, pair.attempt)
    target = desk.targets.get(pair.target.id, pair.target)
    plan = desk.plans[pair.campaign_id]
    step = decide(attempt, target, event, plan, _rules(desk, pair.line), desk.now)
    _take(desk, pair, step)


def _take(desk: _Desk, pair: Pair, step: Step) -> None:
    if step.attempt is not None:
        desk.attempts[step.attempt.id] = step.attempt
    if step.target is not None:
        desk.targets[step.target.id] = step.target
    if step.signal is not None:
        signals = desk.signals.setdefault(pair.line, [])
        if not signals or step.signal is not ALL_WELL or signals[-1] is not ALL_WELL:  # a second in a row says nothing
            signals.append(step.signal)
    if step.pause is not None:
        desk.pauses[pair.campaign_id] = step.pause
    if step.note is not None:
        desk.notes.append(_note(desk, pair, step))


def _note(desk: _Desk, pair: Pair, step: Step) -> dict[str, object]:
    attempt = step.attempt or pair.attempt
    return {
        "at": desk.now,
        "kind": step.note,
        "campaign_id": pair.campaign_id,
        "attempt_id": pair.attempt.id,
        "line": pair.line,
        "detail": {"state": attempt.state, "raw": attempt.raw, "reason": attempt.reason},
    }


def _write(connection: Connection, desk: _Desk) -> None:
    targets = {pair.target.id: pair.target for pair in desk.pairs.values()}
    attempt_rows.write_attempts(connection, [(desk.pairs[i].attempt, after) for i, after in desk.attempts.items()])
    attempt_rows.write_targets(connection, [(targets[i], after) for i, after in desk.targets.items()])
    attempt_rows.write_events(connection, desk.notes)
    for campaign_id, verdict in desk.pauses.items():
        why = f"{verdict.fault}: {verdict.reason}" if verdict.reason else str(verdict.fault)
        campaign_rows.pause_running(connection, campaign_id, why, desk.now)


def _is_news(connection: Connection, line: str, signals: list[Signal], now: float) -> bool:
    """Asked without a lock, and seldom true: a line that is well is told so by every answer."""
    health = line_rows.read_line(connection, line).health
    return after_signals(health, signals, now) != health


def tell_lines(store: Store, news: News) -> None:
    """Soft state: lost with the process that held it, made again by the next answers."""
    for line, signals in news.items():
        with store.write() as connection:
            health = line_rows.lock_line(connection, line).health
            line_rows.write_health(connection, line, after_signals(health, signals, store.now(connection)))
