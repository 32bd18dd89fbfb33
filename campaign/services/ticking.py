"""The once-a-second look at the database: what must be done, as orders. Any number of ticks may run at once."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

from campaign.domain.states import AttemptState
from campaign.policies.looking import LookRules
from campaign.services import campaigns, erasing, reconciling, retry_batches, sweeping
from campaign.storage import attempt_rows, claims, inbox, line_rows, process_rows, uploads
from campaign.storage.engine import Store

log = logging.getLogger(__name__)

DIAL, POLL, SETTLE, HOOKS, INTAKE = "dial", "poll", "settle", "hooks", "intake"

PROCESS_CARRIES = 1000
"""Calls a second that one process is asked to carry before a second one is asked to help. Few that take many calls at a
time do less work for each, and their calls leave more punctually, than many that take a few."""

PROCESS_AWAITS = 500
"""Requests without an answer that one process is asked to keep open: at a slow provider these, and not the calls a
second, are what a process can carry."""

ON_THE_WAY = 0.5
"""Seconds' worth of calls that are about to leave, or whose answers are about to be recorded, at the quickest provider:
nobody waits for these."""

SPARE_UP_TO = 200.0
"""Calls a second up to which a line is dialled by one process more than it takes."""

ALIVE_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """A hint that there may be work. ``subject`` is a line's name, or an upload's number; ``more`` is what else its
    task takes; ``label`` is what a person reads. Never a phone number, never a secret."""

    kind: str
    subject: str
    label: str
    more: tuple[int, ...] = ()


def tick(store: Store, rules: Mapping[str, LookRules], paces: Mapping[str, float] | None = None) -> list[Order]:
    """Do the housekeeping that is due and say what else there is to do. One fault does not stop the other duties.

    ``paces`` are the configured calls per second by line.
    """
    _each(
        lambda: sweeping.sweep(store, rules),
        lambda: retry_batches.fire_due(store),
        lambda: reconciling.raise_doubts(store, rules),
        lambda: erasing.work_off(store),
        lambda: campaigns.complete_finished(store),
    )
    return orders(store, paces or {})


def _each(*duties: Callable[[], object]) -> None:
    for duty in duties:
        try:
            duty()
        except Exception as error:  # the next tick tries again; the other duties must not wait for it
            log.error("a duty of the tick failed: %s", type(error).__name__)


def orders(store: Store, paces: Mapping[str, float]) -> list[Order]:
    with store.read() as connection:
        now = store.now(connection)
        helpers = process_rows.alive(connection, now - ALIVE_WITHIN)
        work = claims.lines_with_work(connection, now)
        rows = {line: line_rows.read_line(connection, line) for line in work}
        looks = attempt_rows.looks_due(connection, AttemptState.PLACED, now)
        doubts = attempt_rows.looks_due(connection, AttemptState.UNCONFIRMED, now)
        unanswered = attempt_rows.unanswered(connection)
        deliveries = inbox.waiting(connection, now)
        files = uploads.waiting(connection, now)
    pace = {line: rows[line].calls_per_second or paces.get(line) for line in work}
    dials = {
        line: _dialers(min(due, pace[line] or due), unanswered.get(line, 0), helpers)
        for line, due in work.items()
        if rows[line].health.not_before <= now
    }
    return [
        *(replace(one, more=(dials[one.subject] + _spare(pace[one.subject]),)) for one in _per_line(DIAL, dials)),
        *_per_line(POLL, {line: min(1 + count // 500, max(1, helpers)) for line, count in looks.items()}),
        *_per_line(SETTLE, dict.fromkeys(doubts, 1)),
        *_per_line(HOOKS, dict.fromkeys(deliveries, 1)),
        *(Order(INTAKE, str(upload_id), f"{INTAKE} {name}") for upload_id, name in files),
    ]


def _dialers(calls: float, unanswered: int, helpers: int) -> int:
    """How many processes to ask for so many calls in the next second, while so many requests are still open."""
    awaited = unanswered - ON_THE_WAY * calls
    wanted = max(ceil(calls / PROCESS_CARRIES), ceil(awaited / PROCESS_AWAITS))
    return max(1, min(wanted, helpers))


def _spare(pace: float | None) -> int:
    """One process more, where that costs little, so that the line does not fall silent when the other is killed."""
    return int(pace is not None and pace <= SPARE_UP_TO)


def _per_line(kind: str, counts: Mapping[str, int]) -> Iterator[Order]:
    for line, count in counts.items():
        for _ in range(count):
            yield Order(kind, line, f"{kind} {line}")
