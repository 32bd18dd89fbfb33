"""NetSapiens API v2: two legs, an id of our choice, results from the domain's call detail records (CDRs).

Sources (read 2026-11-20): the official schema docs.ns-api.com/v45.0/openapi/netsapiens-api-v2.json and its v44 (below
OAS), docs.ns-api.com async-202-vs-sync-200, pagination-and-api-data, event-subscriptions-1, and for `cdr` events
pbx.readme.io create-cdr-event-subscription. ``base_url`` is ``https://SERVER/ns-api/v2``.

``call-id`` is ours, so a lost answer is settled by it: the active call, then the CDRs. What a second request with the
same id does is not documented; none is ever sent. User-level CDRs have no reason text and are not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from campaign.domain.calls import (
    CallReport,
    Finding,
    FindingKind,
    OutboundCall,
    RememberedCall,
    ReportStatus,
    WebhookDelivery,
)
from campaign.domain.line import Line, Words
from campaign.domain.verdicts import (
    PauseFault,
    Verdict,
    line_not_ready,
    pause,
    placed,
    refused_call,
    unconfirmed,
)
from campaign.providers import answers, netsapiens_records
from campaign.providers.netsapiens_records import Record
from campaign.providers.port import AT_ONCE, Capabilities, Fault, Reply, Request, Sender

_LIMIT = 100  # the documented default, and what the guide pages with
_PAGES = 50
_MARGIN = 60.0  # seconds that the server's clock may be apart from ours
_CANARY_SPAN = 7200.0  # how long after its start the record of a known call is looked for


class NetsapiensOptions(Words):
    domain: str = Field(max_length=64, pattern=r"^([A-Za-z0-9._-]+|~)$", description="~ is the token's own domain")
    user: str = Field(min_length=1, max_length=16, description="places the call; ~ is the token's own user")
    # Leg 1 (`call-orig-user`) is rung first, leg 2 (`call-term-user`) when leg 1 has answered.
    ring_first: Literal["agent", "contact"] = Field("agent", description="whose telephone rings first")
    agent: str | None = Field(
        None,
        description="user, device, queue or number of your side; left out with ring_first agent, it is user@domain",
    )
    # The deployment's dial plan decides. The official example has no `+`; some plans refuse it with a 404, others take
    # it (both seen at integrators).
    number_format: Literal["digits", "e164"] = Field("digits", description="digits: 14155550123, e164: +14155550123")
    agent_caller_id: str | None = Field(
        None, description="the number that your side sees; the contact sees the caller id of the line"
    )
    dial_rule_application: str | None = Field(None, description="selects the next destination; without it, call")
    auto_answer: bool = Field(False, description="asks the telephone that rings first to answer by itself")
    added_sip_header: str | None = Field(None, description="a header for the second leg, like X-Campaign: autumn")

    @model_validator(mode="after")
    def _both_legs(self) -> Self:
        if self.ring_first == "contact" and not self.agent:
            raise ValueError('ring_first = "contact" needs `agent`: whom the contact is put through to')
        return self


@dataclass(frozen=True, slots=True)
class _Listing:
    """CDRs of a window; ``fault`` says why they could not be read, ``whole`` that no page was left out."""

    records: tuple[Record, ...] = ()
    whole: bool = False
    fault: str = ""


class Netsapiens:
    """One user of one domain."""

    name: ClassVar[str] = "netsapiens"
    capabilities: ClassVar[Capabilities] = Capabilities(
        poll=True, webhook=True, find_by_our_id=True, cancel=True, list_lag=300.0, looks_after=30.0, queue_delay=AT_ONCE
    )
    options: ClassVar[type[Words]] = NetsapiensOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"token"})
    default_base_url: ClassVar[str | None] = None

    def __init__(self, line: Line, sender: Sender) -> None:
        self._options = NetsapiensOptions.model_validate(line.options)
        self._domain = f"/domains/{quote(self._options.domain, safe='~')}"
        self._user = f"{self._domain}/users/{quote(self._options.user, safe='~')}"
        self._headers = {"Authorization": f"Bearer {line.secret('token')}"}
        self._sender = sender

    async def originate(self, call: OutboundCall) -> Verdict:
        """There are no variables, no caller name and no ring timeout in the schema."""
        answer = await self._sender.send(Request("POST", f"{self._user}/calls", self._headers, json=self._body(call)))
        if isinstance(answer, Fault):
            return answers.fault_verdict(answer)
        message = _message(answer)
        raw = f"{answer.status}: {message}" if message else str(answer.status)
        if answer.status in (200, 202):
            return _accepted(answer, call.our_ref, raw)
        if answer.status == 404:
            return await self._not_found(raw)
        if answer.status == 409:  # not documented for calls; on other routes it says that the id exists already
            return unconfirmed("the provider says that it has this call already", raw)
        return answers.status_verdict(answer, self._sender.now(), message)

    def _body(self, call: OutboundCall) -> dict[str, str]:
        """``caller-id-number`` is shown on leg 2, ``callback-caller-id-number`` on leg 1 (OAS)."""
        options = self._options
        contact, shown = self._written(call.phone), self._written(call.caller_id) if call.caller_id else None
        agent_first = options.ring_first == "agent"
        fields = {
            "synchronous": "no",
            "call-id": call.our_ref,
            "call-orig-user": options.agent if agent_first else contact,
            "call-term-user": contact if agent_first else options.agent,
            "caller-id-number": shown if agent_first else options.agent_caller_id,
            "callback-caller-id-number": options.agent_caller_id if agent_first else shown,
            "dial-rule-application": options.dial_rule_application,
            "auto-answer-enabled": "yes" if options.auto_answer else None,
            "call-term-added-sip-header": options.added_sip_header,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _written(self, phone: str) -> str:
        return phone if self._options.number_format == "e164" else answers.digits(phone)

    async def _not_found(self, raw: str) -> Verdict:
        """404 is ambiguous: domain or user wrong, or a destination that the dial plan does not route."""
        answer = await self._sender.send(Request("GET", self._user, self._headers))
        if isinstance(answer, Fault) or answer.status >= 500 or answer.status == 429:
            return line_not_ready("the provider found nothing, and whether its user exists could not be asked", raw)
        if answer.status == 200 and answers.read_object(answer.body) is not None:
            return refused_call("the provider has no route to the number", raw)
        return pause(PauseFault.CONFIG, "the provider does not know the domain or user of the line", raw)

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        return [await self._result(call) for call in calls]

    async def _result(self, call: RememberedCall) -> CallReport:
        """A call is active, or it is in the CDRs, or it is not known (yet)."""
        active = await self._active(call)
        if isinstance(active, CallReport):
            return active
        if active:
            return answers.unreachable(call, active)
        call_id = call.call_id or call.our_ref
        listing = await self._records(call_id, call.sent_at - _MARGIN, self._sender.now() + _MARGIN)
        legs = netsapiens_records.legs_of(listing.records, call_id)
        if legs:
            return netsapiens_records.report(legs, call, self._options.ring_first)
        if listing.fault or not listing.whole:
            return answers.unreachable(call, listing.fault or "the call detail records could not be read to their end")
        return CallReport(
            ReportStatus.MISSING,
            call.attempt_id,
            call_id=call.call_id,
            our_ref=call.our_ref,
            reason="neither active nor in the call detail records",
        )

    async def _active(self, call: RememberedCall) -> CallReport | str:
        """The report on an active call; "" where the provider says that it is not active; else why nobody knows."""
        path = f"{self._user}/calls/{quote(call.call_id or call.our_ref, safe='')}"
        answer = await self._sender.send(Request("GET", path, self._headers))
        if isinstance(answer, Fault):
            return answer.reason
        if answer.status == 404:
            return ""
        shown = netsapiens_records.rows(answers.read_json(answer.body)) if answer.status == 200 else None
        if shown is None or (shown and not netsapiens_records.is_call(shown[0])):
            return f"the answer does not say whether the call is active (HTTP {answer.status})"
        if not shown:
            return ""
        return CallReport(
            ReportStatus.PENDING,
            call.attempt_id,
            call_id=call.call_id or call.our_ref,
            our_ref=call.our_ref,
            raw=netsapiens_records.active_word(shown[0]),
            answered_at=netsapiens_records.answered_at(shown[0]),
        )

    async def _records(self, call_id: str, since: float, until: float) -> _Listing:
        """The domain's CDRs of a window, up to the page that shows the call.

        The schema says that ``start`` counts from 0, the guide pages with 1 and 101: a start of what is known already
        lets the pages touch by either, and what comes twice is kept once. A page may be shorter than asked for, so only
        an empty one, or a short one that says nothing new, is the end; a full one that repeats itself is no page.
        """
        found: dict[str, Record] = {}
        for _ in range(_PAGES):
            answer = await self._sender.send(self._records_request(since, until, len(found)))
            records = _array(answer)
            if isinstance(records, str):
                return _Listing(tuple(found.values()), fault=records)
            page = {netsapiens_records.key(record): record for record in records}
            fresh = page.keys() - found.keys()
            found |= page
            if not fresh:
                return _Listing(tuple(found.values()), whole=len(records) < _LIMIT - 1)
            if len(records) < _LIMIT - 1 and netsapiens_records.legs_of(found.values(), call_id):
                break
        return _Listing(tuple(found.values()))

    def _records_request(self, since: float, until: float, start: int) -> Request:
        query = (
            ("datetime-start", _rfc3339(since)),
            ("datetime-end", _rfc3339(until)),
            ("start", str(start)),
            ("limit", str(_LIMIT)),
        )
        return Request("GET", f"{self._domain}/cdrs", self._headers, query)

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        as_of = self._sender.now()
        active = await self._active(call)
        if isinstance(active, CallReport):
            return Finding(FindingKind.FOUND, as_of, active.call_id, active)
        if active:
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, active)
        call_id = call.call_id or call.our_ref
        listing = await self._records(call_id, call.sent_at - _MARGIN, as_of + _MARGIN)
        legs = netsapiens_records.legs_of(listing.records, call_id)
        if legs:
            report = netsapiens_records.report(legs, call, self._options.ring_first)
            return Finding(FindingKind.FOUND, as_of, report.call_id, report)
        if listing.fault:
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, listing.fault)
        if not listing.whole:
            return answers.nothing_found(FindingKind.BLIND, as_of, "the records could not be read to their end")
        return await self._absence(canary, listing, as_of)

    async def _absence(self, canary: RememberedCall | None, listing: _Listing, as_of: float) -> Finding:
        """Not there counts only where the same query shows a call that is known to exist."""
        if canary is None:
            return answers.nothing_found(FindingKind.BLIND, as_of, "no ended call to prove the records with")
        known = canary.call_id or canary.our_ref
        if not netsapiens_records.legs_of(listing.records, known):
            until = min(canary.sent_at + _CANARY_SPAN, as_of) + _MARGIN
            proof = await self._records(known, canary.sent_at - _MARGIN, until)
            if proof.fault:
                return answers.nothing_found(FindingKind.UNREACHABLE, as_of, proof.fault)
            if not netsapiens_records.legs_of(proof.records, known):
                return answers.nothing_found(FindingKind.BLIND, as_of, "the records do not show a call that is known")
        return answers.nothing_found(FindingKind.ABSENT, as_of, "not active and not in the records, which show another")

    async def cancel(self, call: RememberedCall) -> bool:
        path = f"{self._user}/calls/{quote(call.call_id or call.our_ref, safe='')}"
        answer = await self._sender.send(Request("DELETE", path, self._headers))
        return isinstance(answer, Reply) and answer.status == 200

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """The body is a JSON array of events of any subscribed model; see ``netsapiens_records.event_report``."""
        events = netsapiens_records.rows(answers.read_json(delivery.body)) or []
        found = (netsapiens_records.event_report(event, verified=delivery.verified) for event in events)
        return [report for report in found if report is not None]

    async def identify(self, report: CallReport) -> CallReport:
        return report

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        return None

    async def check(self) -> Verdict:
        answer = await self._sender.send(Request("GET", self._user, self._headers))
        if isinstance(answer, Fault):
            return answers.fault_verdict(answer)
        if answer.status == 200 and answers.read_object(answer.body) is not None:
            return placed(None, "200")
        if answer.status == 200:
            return pause(
                PauseFault.CONFIG, "base_url does not lead to the NetSapiens API: the answer is not JSON", "200"
            )
        if answer.status == 404:
            return pause(PauseFault.CONFIG, "the provider does not know the domain or user of the line", "404")
        return answers.status_verdict(answer, self._sender.now(), _message(answer))


def _accepted(answer: Reply, our_ref: str, raw: str) -> Verdict:
    """202 and 200 are both a full success; the body may be empty or ``{}``, and ``ErrorResponse`` has a ``code``."""
    body = {} if not answer.body.strip() else answers.read_object(answer.body)
    code = None if body is None else answers.number(body.get("code"))
    if body is None or (code is not None and code >= 400):
        return unconfirmed("the answer to an accepted request cannot be read", raw)
    return placed(our_ref, raw)


def _message(answer: Reply) -> str:
    return answers.word((answers.read_object(answer.body) or {}).get("message"))


def _array(answer: Reply | Fault) -> list[Record] | str:
    """The records of one page, or why there are none to read."""
    if isinstance(answer, Fault):
        return answer.reason
    records = answers.read_json(answer.body) if answer.status == 200 else None
    if not isinstance(records, list):
        return f"no call detail records in the answer (HTTP {answer.status})"
    return [record for record in records if isinstance(record, dict)]


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
