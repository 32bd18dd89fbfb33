"""Nexbro IP-PBX: rings an extension and the contact, tells the result by call detail record (CDR).

Sources (read 2026-11-20): nexbro.com/change-log/v1/ call-originate, call-detail-record, call-detail-records,
call-hangup, call-events, steps-for-create-api-key. ``base_url`` is ``https://YOUR-NEXBRO-DOMAIN``. It is not documented
whether originate waits for the extension to answer: give the line a ``timeout`` of 60 to 90 seconds.

A call is listed only after it has ended and there is no id of ours, so a lost answer is settled by number and time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from campaign.domain.calls import (
    CallReport,
    Finding,
    FindingKind,
    OutboundCall,
    RememberedCall,
    ReportStatus,
    WebhookDelivery,
)
from campaign.domain.dispositions import Disposition
from campaign.domain.line import Line, Words
from campaign.domain.verdicts import (
    PauseFault,
    Verdict,
    VerdictKind,
    line_not_ready,
    pause,
    placed,
    refused_call,
    unconfirmed,
)
from campaign.providers import answers
from campaign.providers.port import AT_ONCE, Capabilities, Fault, Reply, Request, Sender

_ROOT = "/admin/api/nexbro/v1/"
_PER_PAGE, _PAGES = 100, 10  # 100 is the documented maximum
_CLOCKS_APART = 30.0  # seconds that the exchange's clock may run behind ours
_LIST_AFTER = 900.0  # age from which a call without a CDR of its own is also looked for in the list

_CAUSES: tuple[tuple[Disposition, tuple[str, ...]], ...] = (
    (Disposition.INVALID_NUMBER, ("unallocated", "invalid number", "does not exist", "number changed")),
    (Disposition.BUSY, ("busy",)),
    (Disposition.REJECTED, ("reject", "declin")),
    (Disposition.CANCELED, ("cancel",)),
    (Disposition.ERROR, ("congestion", "temporary failure", "network out of order", "no route", "gateway", "service")),
    (Disposition.UNAVAILABLE, ("unreachable", "not registered", "out of order", "absent", "unavailable")),
    (Disposition.NO_ANSWER, ("no answer", "not answer", "unanswered", "timeout", "no user response")),
)
"""Parts of ``hangup_cause``, first match wins. The list of its sentences is not published; the parts also meet
the cause names of FreeSWITCH (``USER_BUSY``, ``UNALLOCATED_NUMBER``), on which Nexbro seems to stand."""


_ANSWERED_BY_STATUS = {"ANSWERED": True, "MISSED": False}
"""Only `ANSWERED` and the list's filter words `answered` and `missed` are documented; case is not relied on."""


class NexbroOptions(Words):
    extension: str = Field(min_length=1, coerce_numbers_to_str=True, description="the extension that is rung first")
    gateway_uuid: str = Field(min_length=1, description="the outgoing gateway")
    # Documented twice: the table of the page says the first, its own curl example calls the second.
    cdr_path: Literal["call/call-detail-record", "call-detail-record"] = Field(
        "call/call-detail-record", description="where your exchange serves call detail records; its pages name both"
    )
    time_zone: str = Field("UTC", description="IANA zone of the exchange's timestamps, which its pages do not tell")
    answered_leg: Literal["contact", "call"] = Field(
        "contact", description="call: trust the status of the whole call, where call_flow does not name the number"
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            raise ValueError("not an IANA time zone; write it like Europe/Istanbul") from None
        return name


@dataclass(frozen=True, slots=True)
class _Listing:
    """Rows of the CDR list; ``fault`` says why it could not be read, ``whole`` that no page was left out."""

    rows: tuple[dict[str, object], ...] = ()
    whole: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Leg:
    """What a record says about the contact. ``answered`` is None where it cannot be told."""

    answered: bool | None
    answered_at: float | None
    fields: Mapping[str, object]


class Nexbro:
    """One exchange, one extension, one gateway."""

    name: ClassVar[str] = "nexbro"
    capabilities: ClassVar[Capabilities] = Capabilities(
        poll=True,
        webhook=True,
        find_by_number=True,
        cancel=True,
        list_lag=3600.0,  # a CDR appears when the call has ended, so an absence says nothing while one may still talk
        looks_after=120.0,
        queue_delay=AT_ONCE,
    )
    options: ClassVar[type[Words]] = NexbroOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"api_key"})
    default_base_url: ClassVar[str | None] = None

    def __init__(self, line: Line, sender: Sender) -> None:
        self._options = NexbroOptions.model_validate(line.options)
        self._zone = ZoneInfo(self._options.time_zone)
        self._headers = {"X-API-KEY": line.secret("api_key")}
        self._sender = sender

    async def originate(self, call: OutboundCall) -> Verdict:
        """No variables and no id of ours are documented; the extension is an integer in the documentation."""
        extension = self._options.extension
        body: dict[str, object] = {
            "extension": int(extension) if _is_integer(extension) else extension,
            "destination_number": answers.digits(call.phone),
            "gateway_uuid": self._options.gateway_uuid,
        }
        if call.caller_id:
            body["caller_id_number"] = answers.digits(call.caller_id)
        answer = await self._sender.send(Request("POST", f"{_ROOT}call/originate", self._headers, json=body))
        if isinstance(answer, Fault):
            return answers.fault_verdict(answer)
        return _verdict(answer, self._sender.now())

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        return [await self._result(call) for call in calls]

    async def _result(self, call: RememberedCall) -> CallReport:
        if call.call_id is None:
            return answers.unreachable(call, "the call has no id at the provider")
        path = f"{_ROOT}{self._options.cdr_path}/{quote(call.call_id, safe='')}"
        answer = await self._sender.send(Request("GET", path, self._headers))
        if isinstance(answer, Fault):
            return answers.unreachable(call, answer.reason)
        if answer.status == 404:  # "cannot be found or is not available yet"
            return await self._result_from_list(call)
        record = _data(answer) if answer.status == 200 else None
        if not isinstance(record, dict) or not record:
            return answers.unreachable(call, f"no call detail record in the answer (HTTP {answer.status})")
        return self._report(record, call)

    async def _result_from_list(self, call: RememberedCall) -> CallReport:
        """A wrong ``cdr_path`` answers 404 for ever; then the list still shows a call that has ended."""
        if self._sender.now() - call.sent_at >= _LIST_AFTER:
            for row in (await self._list(call)).rows:
                if call.call_id == _uuid(row):
                    return self._report(row, call)
        return answers.pending(call, "404", "no call detail record yet")

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """A row without its parts does not tell who answered; then the call is found and its record is asked later."""
        as_of = self._sender.now()
        listing = await self._list(call)
        if listing.fault:
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, listing.fault)
        ours = [row for row in listing.rows if self._is_of(row, call)]
        if ours:
            row = min(ours, key=lambda each: self._started(each) or 0.0)
            report = self._report(row, call)
            told = "call_flow" in row or report.disposition is not Disposition.ANSWERED
            return Finding(FindingKind.FOUND, as_of, report.call_id, report if told else None)
        return await self._absence(call, canary, listing, as_of)

    async def _absence(
        self, call: RememberedCall, canary: RememberedCall | None, listing: _Listing, as_of: float
    ) -> Finding:
        """Not listed counts only where the list is whole and the same query shows a call that is known to exist."""
        undated = any(
            not self._started(row) and answers.same_number(call.phone, row.get("destination_number"))
            for row in listing.rows
        )
        if not listing.whole or undated:
            return answers.nothing_found(FindingKind.BLIND, as_of, "the list could not be read to its end")
        if canary is None:
            return answers.nothing_found(FindingKind.BLIND, as_of, "no ended call to prove the list with")
        proof = await self._list(canary)
        if proof.fault:
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, proof.fault)
        if not any(self._is_of(row, canary) for row in proof.rows):
            return answers.nothing_found(FindingKind.BLIND, as_of, "the list does not show a call that is known")
        return answers.nothing_found(FindingKind.ABSENT, as_of, "not in the list, which shows a later known call")

    def _is_of(self, row: Mapping[str, object], call: RememberedCall) -> bool:
        if call.call_id is not None:
            return _uuid(row) == call.call_id
        started = self._started(row)
        recent = started is not None and started >= call.sent_at - _CLOCKS_APART and _uuid(row) not in call.others
        return recent and answers.same_number(call.phone, row.get("destination_number"))

    def _started(self, row: Mapping[str, object]) -> float | None:
        return answers.instant(_first(row, "start_time", "start_epoch"), self._zone)

    async def _list(self, call: RememberedCall) -> _Listing:
        """The rows around the time of ``call`` that name its number, up to the page that shows it.

        ``page`` is not documented and a page may be shorter than asked for, so only an empty page, or a short one that
        says nothing new, is the end.
        """
        rows: list[dict[str, object]] = []
        for page in range(1, _PAGES + 1):
            answer = await self._sender.send(self._list_request(call, page))
            found = _page(answer)
            if isinstance(found, str):
                return _Listing(tuple(rows), fault=found)
            if not (fresh := [row for row in found if row not in rows]):
                return _Listing(tuple(rows), whole=len(found) < _PER_PAGE)
            rows += fresh
            if any(self._is_of(row, call) for row in fresh):
                break
        return _Listing(tuple(rows))

    def _list_request(self, call: RememberedCall, page: int) -> Request:
        query = (
            ("from", self._written(call.sent_at - 2 * _CLOCKS_APART)),
            ("to", self._written(max(self._sender.now(), call.sent_at) + 2 * _CLOCKS_APART)),
            ("call_direction[0]", "outbound"),
            ("query", answers.digits(call.phone)),
            ("direction", "desc"),
            ("per_page", str(_PER_PAGE)),
            ("page", str(page)),
        )
        return Request("GET", f"{_ROOT}{self._options.cdr_path}s", self._headers, query)

    def _written(self, moment: float) -> str:
        return datetime.fromtimestamp(moment, self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def _report(self, record: Mapping[str, object], call: RememberedCall) -> CallReport:
        status, cause = answers.word(record.get("status")), answers.word(record.get("hangup_cause"))
        raw = " / ".join(filter(None, (status, cause)))
        leg = self._contact_leg(record, status, call)
        ended_at = answers.instant(_first(record, "end_time", "end_epoch"), self._zone)
        disposition = _disposition(leg, cause)
        if disposition is None and ended_at is None:
            return answers.pending(call, raw, "the record has no end and no known status")
        report = CallReport(
            ReportStatus.FINAL,
            call.attempt_id,
            call_id=_uuid(record) or call.call_id,
            our_ref=call.our_ref,
            disposition=disposition or Disposition.UNKNOWN,
            raw=raw,
            reason="" if disposition else "the record does not say whether the contact answered",
            ended_at=ended_at,
        )
        if disposition is not Disposition.ANSWERED:
            return report
        return replace(report, answered_at=leg.answered_at, talk_seconds=_talked(leg, ended_at))

    def _contact_leg(self, record: Mapping[str, object], status: str, call: RememberedCall) -> _Leg:
        """What the record says about the contact: `answered` of the whole may mean that only the extension did."""
        by_status = _ANSWERED_BY_STATUS.get(status.upper())
        flow = record.get("call_flow")
        legs = [leg for leg in flow if isinstance(leg, dict)] if isinstance(flow, list) else []
        if not legs or self._options.answered_leg == "call":
            return _Leg(by_status, self._answered_at(record), record)
        ours = [leg for leg in legs if answers.same_number(call.phone, leg.get("destination_number"))]
        if not ours:
            return _Leg(False if by_status is False else None, None, {})
        leg = next((leg for leg in ours if self._answered_at(leg)), ours[0])
        answered_at = self._answered_at(leg)
        return _Leg(answered_at is not None, answered_at, leg)

    def _answered_at(self, leg: Mapping[str, object]) -> float | None:
        return answers.instant(_first(leg, "answer_time", "answer_epoch"), self._zone)

    async def cancel(self, call: RememberedCall) -> bool:
        if call.call_id is None:
            return False
        path = f"{_ROOT}call/hangup/{quote(call.call_id, safe='')}"
        answer = await self._sender.send(Request("POST", path, self._headers))
        return isinstance(answer, Reply) and answer.status == 200 and answers.read_object(answer.body) is not None

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """Every ``CALL_…`` event is a hint to ask for the record: no event documents how the call ended."""
        event = answers.read_object(delivery.body) or {}
        kind, call_id = answers.word(event.get("event")), answers.usable_id(event.get("call_uuid"))
        if not kind.upper().startswith("CALL_") or call_id is None:
            return []
        return [
            CallReport(
                ReportStatus.PENDING, call_id=call_id, phone=answers.dialled(event.get("destination_number")), raw=kind
            )
        ]

    async def identify(self, report: CallReport) -> CallReport:
        return report

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        return None

    async def check(self) -> Verdict:
        answer = await self._sender.send(Request("GET", f"{_ROOT}extensions", self._headers))
        if isinstance(answer, Fault):
            return answers.fault_verdict(answer)
        if answer.status == 200 and answers.read_object(answer.body) is not None:
            return placed(None, "200")
        if answer.status == 200:
            return pause(PauseFault.CONFIG, "base_url does not lead to the Nexbro API: the answer is not JSON", "200")
        return _throttled_until_reset(answers.status_verdict(answer, self._sender.now()), answer)


def _is_integer(extension: str) -> bool:
    return extension.isascii() and extension.isdigit() and not (extension.startswith("0") and len(extension) > 1)


def _verdict(answer: Reply, now: float) -> Verdict:
    """Error bodies are not documented; ``message`` is what every documented body has."""
    message = answers.word((answers.read_object(answer.body) or {}).get("message"))
    raw = f"{answer.status}: {message}" if message else str(answer.status)
    if answer.status == 200:
        data = _data(answer)
        call_id = answers.usable_id(data.get("call_uuid")) if isinstance(data, dict) else None
        return placed(call_id, raw) if call_id else unconfirmed("accepted without a call id", raw)
    if answer.status == 404:
        return line_not_ready("the extension is not registered or not found", raw)
    if answer.status == 422:
        return _unprocessable(answer, message, raw)
    return _throttled_until_reset(answers.status_verdict(answer, now, message), answer)


def _unprocessable(answer: Reply, message: str, raw: str) -> Verdict:
    """422 is documented as `call setup failed`; the framework's form of it also lists the fields that it refused."""
    errors = (answers.read_object(answer.body) or {}).get("errors")
    ours = [
        key for key in ("extension", "gateway_uuid", "caller_id_number") if isinstance(errors, dict) and key in errors
    ]
    if ours:
        return pause(PauseFault.CONFIG, f"the provider refused {', '.join(ours)} of the line: {message}", raw)
    return refused_call("the call could not be set up", raw)


def _throttled_until_reset(verdict: Verdict, answer: Reply) -> Verdict:
    """``X-RateLimit-Reset`` is in seconds from now (steps-for-create-api-key)."""
    if verdict.kind is not VerdictKind.THROTTLED or verdict.retry_after is not None:
        return verdict
    reset = answers.number(answer.headers.get("x-ratelimit-reset"))
    wait = None if reset is None else min(max(reset, 0.0), answers.RETRY_AFTER_LIMIT)
    return replace(verdict, retry_after=wait)


def _disposition(leg: _Leg, cause: str) -> Disposition | None:
    """None where the record does not tell."""
    if leg.answered:
        return Disposition.ANSWERED
    return _by_cause(cause) or (Disposition.NO_ANSWER if leg.answered is False else None)


def _by_cause(cause: str) -> Disposition | None:
    text = cause.replace("_", " ").lower()
    return next((meaning for meaning, parts in _CAUSES if any(part in text for part in parts)), None)


def _talked(leg: _Leg, ended_at: float | None) -> int | None:
    """``answer_duration`` where the leg has one; ``duration`` also counts the ringing and is not used."""
    said = answers.whole_seconds(leg.fields.get("answer_duration"))
    if said is not None or leg.answered_at is None or ended_at is None:
        return said
    return answers.whole_seconds(ended_at - leg.answered_at)


def _data(answer: Reply) -> object:
    return (answers.read_object(answer.body) or {}).get("data")


def _page(answer: Reply | Fault) -> list[dict[str, object]] | str:
    """The rows of one page of the list, or why there are none to read."""
    if isinstance(answer, Fault):
        return answer.reason
    data = _data(answer) if answer.status == 200 else None
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return f"no list of call detail records in the answer (HTTP {answer.status})"
    return [row for row in rows if isinstance(row, dict)]


def _first(row: Mapping[str, object], *names: str) -> object:
    """The first of a field's old and new names that is set; an older copy of the pages says ``…_epoch``."""
    return next((row[name] for name in names if row.get(name)), None)


def _uuid(row: Mapping[str, object]) -> str | None:
    return answers.usable_id(_first(row, "call_uuid", "xml_cdr_uuid"))
