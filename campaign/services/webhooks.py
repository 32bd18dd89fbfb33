"""Webhooks in: stored first, answered after, handled by a worker. What cannot be verified is only a hint to poll: of it
nothing is kept but which calls to ask about, no more than so many at a time, and nothing once it was read.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from campaign.domain.calls import CallReport, ReportStatus, WebhookDelivery
from campaign.domain.line import Line
from campaign.policies.events import Reported
from campaign.providers.port import Provider
from campaign.services import suppression
from campaign.services.outside import Outside
from campaign.services.recording import record_in
from campaign.storage import attempt_rows, erasures, events, inbox
from campaign.storage.engine import Connection, Store
from campaign.storage.inbox import StoredDelivery

MOST = 200
HANDLING_LEASE = 30.0
TRIES = 9
"""A delivery may overtake the answer to its own originate: it is tried again after 1, 2, 4 … seconds, then orphaned."""

HINT_TRIES = 4
"""The same for a hint, which anybody may have sent: the call is polled all the same."""

UNREAD_HINTS = 1000
"""Hints of one line that may wait to be read. Beyond that whoever sends one is told to come later."""

LONGEST_NAME = 200
"""Characters of an id or a number; what is longer is none of ours."""

LONGEST_HINT = 4096
"""Bytes kept of one hint."""

SECRET_HEADERS = frozenset({"authorization", "x-webhook-secret", "cookie", "proxy-authorization"})
SECRET_QUERY = frozenset({"token"})


def presented_secret(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The secret of a delivery from any of the three places where it may stand; headers are lower-cased."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-webhook-secret") or query.get("token") or None


def secret_matches(line: Line, presented: str | None) -> bool | None:
    """None where the line has no secret: then nothing can be verified."""
    if "webhook_secret" not in line.credentials:
        return None
    expected = line.secret("webhook_secret")
    return presented is not None and hmac.compare_digest(presented.encode(), expected.encode())


def receive(store: Store, line: Line, delivery: WebhookDelivery) -> bool:
    """Commit a verified delivery; True where it is new. Called before the answer goes out."""
    kept = {name: value for name, value in delivery.headers.items() if name not in SECRET_HEADERS}
    query = {name: value for name, value in delivery.query.items() if name not in SECRET_QUERY}
    said = json.dumps(sorted(query.items())).encode()  # some providers say everything in the address
    digest = hashlib.sha256(b"\0".join((b"verified", said, delivery.body))).hexdigest()
    with store.write() as connection:
        now = store.now(connection)
        return inbox.store_delivery(connection, line.name, digest, kept, query, delivery.body, verified=True, now=now)


class TooManyHints(Exception):
    """As many as may wait do; nothing was stored."""


def receive_hint(store: Store, line: Line, said: Sequence[CallReport]) -> bool:
    """Commit that these calls are to be asked about; True where that is new. Nothing else that an unverified delivery
    ``said`` is kept. Raises TooManyHints."""
    hint = _hint(said)
    if hint is None:
        return False
    digest = hashlib.sha256(b"hint\0" + hint).hexdigest()  # a forged copy must not hide the true one
    with store.write() as connection:
        if inbox.count_hints(connection, line.name, UNREAD_HINTS) >= UNREAD_HINTS:
            raise TooManyHints
        now = store.now(connection)
        return inbox.store_delivery(connection, line.name, digest, {}, {}, hint, verified=False, now=now)


def _hint(said: Sequence[CallReport]) -> bytes | None:
    """The calls named, as many as fit."""
    hint: bytes | None = None
    named: list[dict[str, str | None]] = []
    for report in said:
        names = {"call_id": report.call_id, "our_ref": report.our_ref, "phone": report.phone}
        if not any(names.values()) or any(len(name or "") > LONGEST_NAME for name in names.values()):
            continue
        named.append(names)
        longer = json.dumps(named).encode()
        if len(longer) > LONGEST_HINT:
            break
        hint = longer
    return hint


def _hinted(body: bytes) -> list[CallReport]:
    return [CallReport(ReportStatus.PENDING, **names) for names in json.loads(body)]


@dataclass(slots=True)
class InboxReader:
    """One line's stored deliveries, handled in one process."""

    line: Line
    provider: Provider
    outside: Outside

    async def run(self, seconds: float) -> None:
        outside = self.outside
        for _ in outside.rounds(seconds):
            deliveries = await outside.in_thread(_take, outside.store, self.line.name)
            if not deliveries:
                return
            for delivery in deliveries:
                await self._handle(delivery)

    async def _handle(self, stored: StoredDelivery) -> None:
        matched = await self.outside.in_thread(_matched, self.outside.store, self.line.name, self._said(stored))
        reports = [r if r.attempt_id is not None else await self.provider.identify(r) for r in matched]
        await self.outside.in_thread(self._apply, stored, reports)

    def _said(self, stored: StoredDelivery) -> list[CallReport]:
        if not stored.verified:
            return _hinted(stored.body)
        delivery = WebhookDelivery(stored.headers, stored.query, stored.body, stored.received_at, stored.verified)
        return self.provider.read_webhook(delivery)

    def _apply(self, stored: StoredDelivery, reports: Sequence[CallReport]) -> None:
        store = self.outside.store
        with store.write() as connection:  # handled and applied together: a kill between them would lose the result
            now = store.now(connection)
            matched = [_match(connection, self.line.name, report) for report in reports]
            lost = sum(1 for report in matched if report.attempt_id is None)
            hints = [r.attempt_id for r in matched if r.attempt_id and not self._believed(stored, r)]
            told = [
                (r.attempt_id, Reported(r, asked=False)) for r in matched if r.attempt_id and self._believed(stored, r)
            ]
            attempt_rows.bring_looks_forward(connection, hints, now)
            record_in(connection, store, self.outside.rules, told)
            if lost and stored.tries < (TRIES if stored.verified else HINT_TRIES):
                inbox.again(connection, stored.id, now + 2.0 ** (stored.tries - 1), "no attempt matches yet")
            elif not stored.verified:
                inbox.forget(connection, stored.id)
            else:
                inbox.handled(connection, stored.id, _outcome(reports, lost))
                query = json.dumps(stored.query)
                if suppression.concerns_erased(connection, self.outside.erasure_key, matched, stored.body, query):
                    erasures.forget_delivery(connection, stored.id)
                if lost:
                    detail = {"delivery": stored.id, "reports": lost}
                    events.record(connection, now, "orphan_result", line=self.line.name, detail=detail)

    def _believed(self, stored: StoredDelivery, report: CallReport) -> bool:
        """A hint only makes us ask. So does a report that names nothing but the number, where we can ask: it may be
        about an earlier call to it."""
        by_number_only = report.call_id is None and report.our_ref is None
        return stored.verified and not (by_number_only and self.provider.capabilities.poll)


def _outcome(reports: Sequence[CallReport], lost: int) -> str:
    if not reports:
        return "nothing for us"
    return f"{len(reports)} reports, {lost} without an attempt"


def _take(store: Store, line: str) -> list[StoredDelivery]:
    with store.write() as connection:
        now = store.now(connection)
        return inbox.take(connection, line, now, now + HANDLING_LEASE, MOST)


def _matched(store: Store, line: str, reports: Sequence[CallReport]) -> list[CallReport]:
    with store.read() as connection:
        return [_match(connection, line, report) for report in reports]


def _match(connection: Connection, line: str, report: CallReport) -> CallReport:
    """The report with its attempt's id: by our reference, by the provider's id, by the live call on its number."""
    found: int | None = None
    if report.our_ref:
        found = attempt_rows.ids_by_our_ref(connection, [report.our_ref]).get(report.our_ref)
    if found is None and report.call_id:
        found = attempt_rows.ids_by_call_id(connection, line, [report.call_id]).get(report.call_id)
    if found is None and report.phone and report.status is not ReportStatus.MISSING:
        found = attempt_rows.ids_live_by_phone(connection, line, [report.phone]).get(report.phone)
    return replace(report, attempt_id=found)
