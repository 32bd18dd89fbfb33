"""Claiming targets for a line, and the last look at every gate before their requests may leave.

Both are one transaction. A claim holds the line's row, so what it counts cannot grow under it: `max_in_flight` is
exact. The commit of :func:`confirm` is what a crash leaves behind as doubt, so it is asked only for calls that will
leave within the next quarter second, and nothing is sent before it has returned.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from campaign.domain.calls import OutboundCall
from campaign.domain.clock import CLOCKS_APART
from campaign.domain.erasure import ErasureKey, is_erased
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.plan import Plan
from campaign.domain.rows import LineHealth
from campaign.domain.states import AttemptState
from campaign.policies.endings import POISON_AFTER
from campaign.policies.events import GivenBack
from campaign.policies.gates import DAY, PASS, Facts, Gate, Skip, Wait, gate
from campaign.policies.line_health import allow, may_send
from campaign.policies.looking import LookRules
from campaign.policies.pacing import HORIZON
from campaign.policies.share import Demand, split
from campaign.providers.registry import queue_margin
from campaign.services import restoring, suppression
from campaign.services.recording import record_in, tell_lines
from campaign.services.restoring import Memory
from campaign.storage import attempt_rows, claims, line_rows
from campaign.storage.attempt_rows import Hand
from campaign.storage.claims import DueTarget, NewAttempt, RunningCampaign
from campaign.storage.engine import Connection, Store
from campaign.storage.newer_words import CLOSED

log = logging.getLogger(__name__)

CLAIM_LEASE = 30.0
"""Seconds for which a claimed target waits for its holder, less on a line whose requests are quick; nothing has left,
so running out costs only time."""


SUSPECT_AFTER = POISON_AFTER - 1
"""Workers that have died with a target in hand, after which it is dialled alone in its process."""

SUSPECT_EVERY = 0.25
"""Seconds between two such targets, so that those that wait for theirs are not looked at in every claim."""


def claim_lease(line: Line) -> float:
    return min(CLAIM_LEASE, 5.0 + 5.0 * line.timeout)


_NO_PLAN = Plan()  # of a campaign that no longer runs: it is given back whatever its plan would say


@dataclass(frozen=True, slots=True)
class ClaimedCall:
    """One call in a worker's hand. ``token`` proves the hand; ``pace_limit`` is the campaign's own calls per second;
    workers keep dying over the target of a ``suspect``."""

    attempt_id: int
    token: int
    campaign_id: int
    pace_limit: float | None
    probe: bool
    call: OutboundCall = field(repr=False)
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """``looked_at`` counts the due targets met; some may have been postponed by a gate. ``full`` says that the line had
    no room for more calls in flight. ``calls_per_second`` is the line's pace in force, its health included. At most one
    of ``calls`` is ``suspect``."""

    calls: tuple[ClaimedCall, ...]
    looked_at: int
    full: bool
    calls_per_second: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker asks for. ``held`` are calls per campaign that it has claimed and not yet given a start time;
    ``resting`` are campaigns whose own pace has nothing to give for now; ``turn`` rotates ties between campaigns;
    ``suspect`` is the attempt on the last suspect that it was given, which may be over."""

    calls: int
    held: Mapping[int, int] = field(default_factory=dict)
    resting: frozenset[int] = frozenset()
    turn: int = 0
    suspect: int | None = None


def claim(
    store: Store,
    line: Line,
    wish: Wish,
    new_ref: Callable[[], str],
    key: ErasureKey | None = None,
    memory: Memory | None = None,
) -> Claim:
    """Take due targets of the line's running campaigns, fairly shared, every gate passed. Without the ``key`` of the
    numbers that were erased, if any were, nothing is claimed, nor from a database that has lost what is in ``memory``.
    Raises OutOfReach where nobody can say what other processes have committed.
    """
    try:
        return _claim(store, line, wish, new_ref, key, memory or Memory())
    except suppression.ErasureKeyMissing as fault:
        log.error("line %s: not dialling: %s", line.name, fault)
        suppression.note_missing(store)
        return Claim((), 0, False, line.calls_per_second)


def _claim(
    store: Store, line: Line, wish: Wish, new_ref: Callable[[], str], key: ErasureKey | None, memory: Memory
) -> Claim:
    with store.write() as connection:
        # In the transaction: a connection that was there before the question does not outlive a failover after it.
        witnesses = memory.asked()
        row = line_rows.lock_line(connection, line.name, witnesses)
        now = store.now(connection)
        if restoring.forbids(connection, witnesses, row.watch, now):
            return Claim((), 0, False, line.calls_per_second)
        if abs(ahead := store.clock_ahead(now)) > CLOCKS_APART:
            log.error("line %s: not dialling: this machine's clock is %+.1f s off the database's", line.name, ahead)
            return Claim((), 0, False, line.calls_per_second)
        allowance = allow(row.health, wish.calls, now)
        pace = (row.calls_per_second or line.calls_per_second) * allowance.health.pace_factor
        room = row.max_in_flight or line.max_in_flight
        found = _take(connection, line, replace(wish, calls=allowance.calls), room, now, key)
        new = _new_attempts(found.passed, line, new_ref, now, allowance.probe)
        calls = _born(connection, line, new, found.campaigns, now)
        if allowance.health != row.health and (calls or not allowance.probe):
            line_rows.write_health(connection, line.name, allowance.health)
        reach("claim.before_commit")
    reach("claim.after_commit")
    return Claim(tuple(calls), found.looked_at, found.full, pace)


@dataclass(frozen=True, slots=True)
class _Found:
    campaigns: Mapping[int, RunningCampaign] = field(default_factory=dict)
    passed: Sequence[DueTarget] = ()
    looked_at: int = 0
    full: bool = False


def _take(connection: Connection, line: Line, wish: Wish, room: int, now: float, key: ErasureKey | None) -> _Found:
    if wish.calls <= 0:
        return _Found()
    running = {c.id: c for c in claims.running_campaigns(connection, line.name) if c.id not in wish.resting}
    live = claims.count_live(connection, line.name)
    free = room - live
    if free <= 0 or not running:
        return _Found(full=free <= 0)
    wanted = min(wish.calls, free)
    demands = {c.id: _demand(connection, c, wanted, wish, now) for c in running.values()}
    due = [
        target
        for campaign_id, share in split(wanted, demands, wish.turn).items()
        for target in (claims.due_targets(connection, campaign_id, now, share) if share else ())
    ]
    passed = _through_gates(connection, line, running, due, now, key)
    return _Found(running, _one_suspect(connection, wish, passed, now), len(due))


def _one_suspect(connection: Connection, wish: Wish, passed: Sequence[DueTarget], now: float) -> list[DueTarget]:
    """Targets over which workers keep dying are dialled one at a time on a line in each process, so that the next one
    to die tells the target that kills from those that were merely in the same hand."""
    suspects = [target for target in passed if _is_suspect(target)]
    if not suspects:
        return list(passed)
    if wish.suspect is None or not claims.in_hand(connection, wish.suspect):
        suspects = suspects[1:]
    reason = "workers died with it in hand; waits to be dialled alone"
    claims.postpone(connection, [(t.id, now + SUSPECT_EVERY * i, reason) for i, t in enumerate(suspects, 1)])
    put_off = {target.id for target in suspects}
    return [target for target in passed if target.id not in put_off]


def _is_suspect(target: DueTarget) -> bool:
    return target.rescues >= SUSPECT_AFTER


def _demand(connection: Connection, campaign: RunningCampaign, wanted: int, wish: Wish, now: float) -> Demand:
    """No more than the campaign has room for, and than its own pace can start within the horizon."""
    pace = campaign.plan.pace
    most = wanted
    if pace.max_in_flight is not None:
        most = min(most, pace.max_in_flight - claims.count_live_of(connection, campaign.id))
    if pace.calls_per_second is not None:
        most = min(most, int(pace.calls_per_second * HORIZON) + 1 - wish.held.get(campaign.id, 0))
    due = claims.count_due(connection, campaign.id, now, most) if most > 0 else 0
    return Demand(due, pace.weight)


def _through_gates(
    connection: Connection,
    line: Line,
    campaigns: Mapping[int, RunningCampaign],
    due: Sequence[DueTarget],
    now: float,
    key: ErasureKey | None,
) -> list[DueTarget]:
    """Those that may ring now, at most one per number; the others are given their later due time or skipped."""
    if not due:
        return []
    asked = [(t.phone, campaigns[t.campaign_id].plan) for t in due]
    answers = _gates(connection, line, asked, now, key, with_live=True)
    taken: set[str] = set()
    passed, waits, skips = [], [], []
    for target, answer in zip(due, answers, strict=True):
        if isinstance(answer, Skip):
            skips.append((target.id, answer.reason))
        elif isinstance(answer, Wait):
            waits.append((target.id, answer.due_at, answer.reason))
        elif target.phone not in taken:
            taken.add(target.phone)
            passed.append(target)
    claims.postpone(connection, waits)
    claims.skip(connection, skips, now)
    return passed


def _gates(
    connection: Connection,
    line: Line,
    asked: Sequence[tuple[str, Plan]],
    now: float,
    key: ErasureKey | None,
    *,
    with_live: bool,
) -> list[Gate]:
    phones = [phone for phone, _ in asked]
    erased = suppression.erased_among(connection, key, phones).union(filter(is_erased, phones))
    listed = claims.listed(connection, phones)
    live = claims.live_phones(connection, phones) if with_live else set()
    capped = [phone for phone, plan in asked if plan.caps.per_day is not None]
    recent = claims.recent_sends(connection, capped, now - DAY) if capped else {}
    margin = queue_margin(line)
    facts = {p: Facts(p in listed, p in live, recent.get(p, ()), p in erased) for p in phones}
    return [gate(p, plan, facts[p], now, margin) for p, plan in asked]


def _new_attempts(
    passed: Sequence[DueTarget], line: Line, new_ref: Callable[[], str], now: float, probe: bool
) -> list[NewAttempt]:
    # Sorted, so that two lines that meet the same numbers ask the index in the same order and cannot deadlock.
    ordered = sorted(passed, key=lambda target: target.phone)
    return [NewAttempt(t, new_ref(), _caller_id(line, t), now + claim_lease(line), probe) for t in ordered]


def _caller_id(line: Line, target: DueTarget) -> str | None:
    """The line's caller ids in turn, the same for every attempt on one target's same try."""
    if not line.caller_ids:
        return None
    return line.caller_ids[(target.id + target.attempts) % len(line.caller_ids)]


def _born(
    connection: Connection,
    line: Line,
    new: Sequence[NewAttempt],
    campaigns: Mapping[int, RunningCampaign],
    now: float,
) -> list[ClaimedCall]:
    ids = claims.insert_attempts(connection, line.name, new, now)
    claims.set_calling(connection, ids)
    return [_claimed(ids[a.target.id], a, campaigns[a.target.campaign_id]) for a in new if a.target.id in ids]


def _claimed(attempt_id: int, attempt: NewAttempt, campaign: RunningCampaign) -> ClaimedCall:
    target = attempt.target
    call = OutboundCall(attempt.our_ref, target.phone, attempt.caller_id, campaign.name, target.variables)
    pace_limit = campaign.plan.pace.calls_per_second
    return ClaimedCall(attempt_id, 1, campaign.id, pace_limit, attempt.probe, call, _is_suspect(target))


def confirm(
    store: Store,
    line: Line,
    calls: Sequence[ClaimedCall],
    lease: float,
    rules: Mapping[str, LookRules],
    key: ErasureKey | None = None,
    memory: Memory | None = None,
) -> list[ClaimedCall]:
    """Commit `sending` for those of ``calls`` that are still ours and may still ring; only they may be sent.

    The others are given back in the same transaction: to the time that a gate named, or at once. Raises
    ErasureKeyMissing, and commits nothing, where ``key`` is not that of the numbers that were erased. What is committed
    is kept in ``memory``, and told to all processes before this returns; raises OutOfReach, and then nothing may be
    sent, where it cannot be told.
    """
    reach("send.before_sending_commit")
    memory = memory or Memory()
    with store.write() as connection:
        hands = attempt_rows.lock_hands(connection, [c.attempt_id for c in calls])
        mine = [c for c in calls if _is_mine(hands.get(c.attempt_id), c)]
        now = store.now(connection)
        witnesses = memory.witnesses()
        row = line_rows.read_line(connection, line.name, witnesses)
        health = CLOSED if restoring.forbids(connection, witnesses, row.watch, now) else row.health
        back = _refusals(connection, line, health, mine, hands, now, key)
        going = [c for c in mine if c.attempt_id not in back]
        claims.set_sending(connection, [c.attempt_id for c in going], now, now + lease)
        news = record_in(connection, store, rules, list(back.items())) if back else {}
    if going:
        memory.committed(row.watch, going[-1].call.our_ref, now)
    reach("send.after_sending_commit")
    tell_lines(store, news)
    return going


def _is_mine(hand: Hand | None, call: ClaimedCall) -> bool:
    """A database that lost its last commits gives their ids away again: the reference tells."""
    if hand is None or hand.our_ref != call.call.our_ref:
        return False
    return hand.token == call.token and hand.state is AttemptState.CLAIMED


def _refusals(
    connection: Connection,
    line: Line,
    health: LineHealth,
    mine: Sequence[ClaimedCall],
    hands: Mapping[int, Hand],
    now: float,
    key: ErasureKey | None,
) -> dict[int, GivenBack]:
    """Those that must not ring after all, and what becomes of them."""
    running = {c.id: c for c in claims.running_campaigns(connection, line.name)}
    asked = [(c.call.phone, running[c.campaign_id].plan if c.campaign_id in running else _NO_PLAN) for c in mine]
    answers = _gates(connection, line, asked, now, key, with_live=False)
    return {
        call.attempt_id: _given_back(call, answer)
        for call, answer in zip(mine, answers, strict=True)
        if answer != PASS
        or call.campaign_id not in running
        or hands[call.attempt_id].answered
        or not may_send(health, call.probe, now)
    }


def _given_back(call: ClaimedCall, answer: Gate) -> GivenBack:
    match answer:
        case Wait(due_at, reason):
            return GivenBack(call.token, reason, due_at)
        case Skip(reason):
            return GivenBack(call.token, reason, skip=True)
        case _:
            return GivenBack(call.token, "paused, answered or the line silent, at the last moment")
