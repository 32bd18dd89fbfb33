"""The tasks: each takes one order, calls one service and ends within seconds. Their arguments are opaque names."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from campaign.services import sweeping, ticking, uploads
from campaign.services.ticking import Order
from workers import process
from workers.app import app
from workers.process import LineHands

log = logging.getLogger(__name__)

DIAL_FOR = 2.0
"""Seconds for which a line is dialled after the last word that it should be."""

LOOK_FOR = 5.0
READ_LEASE = 15.0
"""Seconds after which an upload whose reader fell silent is read by another; renewed with every few thousand rows."""

EXPIRES = 2.0
EXPIRES_SLOWLY = 30.0
TIDY_EVERY = 600

_ticks = 0


@app.task(name="tick", send_events=False)  # one a second, whatever happens: in Flower it would bury the orders
def tick() -> None:
    """Look at the database and send the orders that are due."""
    global _ticks
    here = process.current()
    here.beat("tick")
    if _ticks % TIDY_EVERY == 0:
        sweeping.forget_what_is_old(here.runtime.store)
    _ticks += 1
    paces = {name: line.calls_per_second for name, line in here.runtime.lines.items()}
    for order in ticking.tick(here.runtime.store, here.runtime.rules, paces):
        send(order)


def send(order: Order) -> None:
    """Publish one order. It expires, since the next tick would send it again."""
    expires = EXPIRES_SLOWLY if order.kind == ticking.INTAKE else EXPIRES
    app.send_task(order.kind, args=[order.subject, *order.more], shadow=order.label, expires=expires)


@app.task(name=ticking.DIAL)
def dial(line: str, needed: int = 1) -> None:
    """Claim and send what is due on the line, unless as many processes do as are needed."""
    _carry_out(lambda hands: hands.dial(DIAL_FOR, needed), line, ticking.DIAL)


@app.task(name=ticking.POLL)
def poll(line: str) -> None:
    """Ask how placed calls of the line ended."""
    _carry_out(lambda hands: hands.tracker.run(LOOK_FOR), line, "poll")


@app.task(name=ticking.SETTLE)
def settle(line: str) -> None:
    """Look for calls of the line whose answers were lost."""
    _carry_out(lambda hands: hands.settler.run(LOOK_FOR), line, "settle")


@app.task(name=ticking.HOOKS)
def hooks(line: str) -> None:
    """Handle stored webhook deliveries of the line."""
    _carry_out(lambda hands: hands.inbox.run(LOOK_FOR), line, "hooks")


@app.task(name=ticking.INTAKE)
def intake(upload: str) -> None:
    """Read an upload whose bytes are stored."""
    here = process.current()
    here.beat("intake")
    uploads.read_upload(here.runtime.store, int(upload), lease=READ_LEASE, key=here.runtime.settings.erasure_key)


def _carry_out(work: Callable[[LineHands], Coroutine[Any, Any, None]], line: str, role: str) -> None:
    if not process.must_stop():
        process.current().run(work, line, role)
