"""Sweeping: every state that is not final has a time at which somebody looks again; this is who looks."""

from collections.abc import Mapping

from campaign.policies.events import LeaseRanOut, TimeRanOut
from campaign.policies.looking import LookRules
from campaign.services.recording import record
from campaign.storage import attempt_rows, inbox, process_rows
from campaign.storage.engine import Store

MOST = 500
FORGET_PROCESS_AFTER = 86_400.0
FORGET_DELIVERY_AFTER = 30 * 86_400.0
"""Seconds after which a delivery that was read is deleted: what it told is in the attempt. Until then it is known when
it comes again."""


def sweep(store: Store, rules: Mapping[str, LookRules]) -> int:
    """Free what dead workers held, end what has run out of time, skip what a cancelled campaign still has waiting.
    Returns how many attempts were looked at; any number of sweeps may run at once."""
    with store.read() as connection:
        now = store.now(connection)
        silent = attempt_rows.overdue_leases(connection, now, MOST)
        over = attempt_rows.out_of_time(connection, now, MOST)
    record(store, rules, [*((i, LeaseRanOut()) for i in silent), *((i, TimeRanOut()) for i in over)])
    return len(silent) + len(over)


def forget_what_is_old(store: Store) -> None:
    """Processes that are long gone, deliveries that were read long ago."""
    with store.write() as connection:
        now = store.now(connection)
        process_rows.forget(connection, now - FORGET_PROCESS_AFTER)
        inbox.forget_handled(connection, now - FORGET_DELIVERY_AFTER)
