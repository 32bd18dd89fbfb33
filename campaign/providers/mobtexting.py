"""MobTexting (also BICS CPaaS, ThunderSMS): calls that play an audio file or run a flow.

Source: https://github.com/mobtexting/docs at f44c243, files of v2/ as named below (read 2026-11). The documentation has
two generations of every body, before and after 2024-07-10 (commit b2d1213); both are read. There is no id of ours on a
call and no idempotency: after a lost answer the call is looked for by number and time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self, TypeAlias
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

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
from campaign.domain.instants import zone_named
from campaign.domain.line import Line, Words
from campaign.domain.verdicts import PauseFault, Verdict, bad_number, pause, placed, throttled, unconfirmed
from campaign.providers import answers
from campaign.providers.port import Capabilities, Fault, Reply, Request, Sender

Item: TypeAlias = dict[str, object]

STATES: Mapping[str, Disposition] = {
    "ANSWER": Disposition.ANSWERED,
    "COMPLETED": Disposition.ANSWERED,  # "second leg is answered": somebody spoke
    "BUSY": Disposition.BUSY,
    "NOANSWER": Disposition.NO_ANSWER,
    "CANCEL": Disposition.CANCELED,
    # "Usually a sign that the dialled number is not recognised", but in Asterisk, whose words these are, also a full
    # trunk. One CONGESTION must not condemn a number for good, so it is `unavailable`: a retry rule decides, and the
    # word itself stays in the attempt's raw state for who wants to clean the list.
    "CONGESTION": Disposition.UNAVAILABLE,
    "CHANUNAVAIL": Disposition.UNAVAILABLE,
}
"""``status``, v2/voice/index.md. RECEIVED and MISSED are documented for inbound calls and agents' legs: here they
decide nothing, like every word that is not documented."""

SLACK = 60.0
"""Seconds by which the provider's clock may differ from ours at worst."""

CLOCK = 5.0
"""Seconds before our request that a row may show and still be of our request: times are whole seconds."""

CANARY_REACH = 1800.0
"""Seconds that a queued call of ours may start after its request and still count as recognised."""

FULL_PAGE = 15
"""Rows from which a list may have been cut: v2/voice/logs.md pages by 15; outgoing/callstatus says nothing of pages."""

CONFLICT_WAIT = 2.0

_CREDIT = re.compile(r"\b(balance|credits?|recharge)\b", re.IGNORECASE)
_NUMBER_FAULT = re.compile(
    r"\bthe to\b|\bto (field|number|parameter|is|must|has)\b|[`'\"]to[`'\"]|\b(mobile|recipient|receiver)\b",
    re.IGNORECASE,
)
_LINE_FAULT = re.compile(r"\b(bridge|flow|ivr|audio|webhook|interval|caller)(_id)?\b", re.IGNORECASE)
_CALL_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(:\d+)?")


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[str, BeforeValidator(_text), Field(min_length=1)]


class MobTextingOptions(Words):
    bridge: Id | None = Field(None, description="DID with country code that the call comes from; else the caller ID")
    # v2/reach/call.md: `ivr_id` was renamed `flow_id` on 2022-12-07, v2/_code/voice/create_outgoing_call.json still
    # sends the old name. Each goes out under the name it is given here.
    ivr_id: Id | None = Field(None, description="the flow, on platforms before 2022-12")
    flow_id: Id | None = Field(None, description="the flow (Engage > Studio)")
    audio: Id | None = Field(None, description="id of a sound, or a public http(s) URL of one")
    name: str | None = Field(None, description="name of the campaign at MobTexting; without it, ours")
    provider_retry_interval: Literal[0, 5, 15, 30, 45, 60] = Field(
        0, description="minutes between MobTexting's own tries; 0: it does not try again, our plan does"
    )
    webhook_id: Id | None = Field(None, description="id of the webhook that results are pushed to")
    encoding: Literal["form", "json"] = Field("form", description="of the request; JSON is read since 2023-02-10")
    time_zone: str = Field("UTC", description="IANA zone of the account; times come without one (v2/reach/status.md)")

    @field_validator("time_zone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        zone_named(name)
        return name

    @model_validator(mode="after")
    def _one_thing_to_play(self) -> Self:
        if sum(each is not None for each in (self.ivr_id, self.flow_id, self.audio)) != 1:
            raise ValueError("give exactly one of ivr_id, flow_id and audio")
        return self


class MobTexting:
    """One account. ``base_url`` includes the version: ``https://HOST/api/v2``."""

    name: ClassVar[str] = "mobtexting"
    capabilities: ClassVar[Capabilities] = Capabilities(
        poll=True,
        webhook=True,
        find_by_number=True,
        variables=True,
        own_retry=True,
        own_retry_option="provider_retry_interval",
        polls_per_second=16.0,  # "Status API: up to 1000 requests per minute", v2/index.md
        looks_after=20.0,  # a call is listed as queued at once; the grace before an absence counts is the engine's
    )
    options: ClassVar[type[Words]] = MobTextingOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"token"})
    default_base_url: ClassVar[str | None] = "https://portal.mobtexting.com/api/v2"

    def __init__(self, line: Line, sender: Sender) -> None:
        self._sender = sender
        self._headers = {"Authorization": f"Bearer {line.secret('token')}"}
        self._options = MobTextingOptions.model_validate(line.options)
        self._zone = ZoneInfo(self._options.time_zone)

    async def originate(self, call: OutboundCall) -> Verdict:
        bridge = self._options.bridge or answers.digits(call.caller_id or "")
        if not bridge:
            return pause(PauseFault.CONFIG, "MobTexting needs a bridge number; set caller_ids or options.bridge")
        reply = await self._sender.send(self._send_request(call, bridge))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        body = answers.read_object(reply.body) or {}
        if 200 <= reply.status < 300:
            return self._accepted(reply, body)
        return self._refused(reply, body)

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        return [await self._result(call) for call in calls]

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """By number and time, at ``callstatus?mobile=``. The canary's own number is asked for in the same pass.

        The canary proves three things at once: that a number finds its calls in the form we write it, that the list
        goes back to then, and that its clock times read as we read them (`time_zone`).
        """
        as_of = self._sender.now()
        listed = await self._callstatus("mobile", answers.digits(call.phone))
        if isinstance(listed, str):
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, listed)
        ours = [item for item in listed if self._same_numbers(item, call)]
        ours = [item for item in ours if not any(_same_id(item.get("id"), other) for other in call.others)]
        times = [self._placed_at(item) for item in ours]
        if any(at is None or at > as_of + SLACK for at in times):
            reason = "a call to this number has no time that can be read; is time_zone right?"
            return answers.nothing_found(FindingKind.BLIND, as_of, reason)
        recent = [(at, item) for at, item in zip(times, ours, strict=True) if at and at >= call.sent_at - CLOCK]
        if recent:
            _, item = min(recent, key=lambda pair: abs(pair[0] - call.sent_at))
            return self._found(call, item, as_of)
        if any(at and at >= call.sent_at - SLACK for at in times):  # an earlier attempt, or ours by a slow clock
            return answers.nothing_found(FindingKind.BLIND, as_of, "a call to this number is a little too early")
        if len(listed) >= FULL_PAGE:
            return answers.nothing_found(FindingKind.BLIND, as_of, "the list may have been cut")
        return await self._absent(canary, as_of)

    async def cancel(self, call: RememberedCall) -> bool:
        """Always False: "ongoing campaigns cannot be aborted or cancelled", v2/index.md."""
        return False

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """v2/reach/webhook.md: the fixed form, without the call's id, and the composed one, with ours to name."""
        fields = dict(delivery.query) | _posted(delivery)
        if fields.get("source", "OBD") != "OBD":
            return []  # OBD is an outbound call; other sources are inbound calls and agents
        call_id, phone = _webhook_id(fields), answers.dialled(fields.get("to"))
        raw = answers.word(fields.get("status", fields.get("message_status")))
        if not raw or not (call_id or phone):
            return []
        report = CallReport(ReportStatus.PENDING, call_id=call_id, phone=phone, raw=raw)
        return [self._ended(report, answers.whole_seconds(fields.get("duration")), None)]

    async def identify(self, report: CallReport) -> CallReport:
        return report

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        """help/verify-webhook.md: ``{"validation_key": …, "challenge": …}`` wants the challenge back with 200."""
        body = answers.read_object(delivery.body) or {}
        challenge = body.get("challenge")
        if "validation_key" not in body or not isinstance(challenge, (str, int)):
            return None
        return {"challenge": challenge}

    async def check(self) -> Verdict:
        reply = await self._sender.send(Request("GET", "/auth/me", headers=self._headers))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        body = answers.read_object(reply.body)
        if 200 <= reply.status < 300:
            if body is None:
                return pause(PauseFault.CONFIG, "this is not MobTexting; correct base_url (https://HOST/api/v2)")
            return placed(None, str(reply.status)) if _succeeded(body, or_silent=True) else self._failed(reply, body)
        return self._refused(reply, body or {})

    # --- originate ---

    def _send_request(self, call: OutboundCall, bridge: str) -> Request:
        fields = self._fields(call, bridge)
        if self._options.encoding == "json":
            return Request("POST", "/outgoing/send", headers=self._headers, json=fields)
        return Request("POST", "/outgoing/send", headers=self._headers, form=list(fields.items()))

    def _fields(self, call: OutboundCall, bridge: str) -> dict[str, str]:
        """v2/reach/call.md. The names of variables are flat, ``variables[Name]``, in JSON too: that is its example."""
        options = self._options
        given = {
            "bridge": bridge,
            "to": answers.digits(call.phone),  # no example has a `+`, which unescaped would arrive as a space
            "ivr_id": options.ivr_id,
            "flow_id": options.flow_id,
            "audio": options.audio,
            "name": options.name or call.campaign,
            "interval": str(options.provider_retry_interval or ""),
            "webhook_id": options.webhook_id,
        }
        # "Variables consist of alphanumeric characters and underscores", v2/voice/index.md
        named = {re.sub(r"[^A-Za-z0-9_]", "_", name): value for name, value in call.variables.items()}
        variables = {f"variables[{name}]": value for name, value in named.items()}
        return {name: value for name, value in given.items() if value} | variables

    def _accepted(self, reply: Reply, body: Item) -> Verdict:
        """HTTP 2xx. The body's own ``status`` decides: "OK or 200 is success and rest everything is failed"."""
        if _succeeded(body):
            items = _items(body) or []
            call_id = next((found for item in items if (found := answers.usable_id(item.get("id")))), None)
            if call_id is not None:
                return placed(call_id, str(reply.status))
            # "1 numbers accepted" with nothing in `data` would be a failure to us if we had not to fear a second ring.
            return unconfirmed("MobTexting accepted the call and gave no id", str(reply.status))
        return self._failed(reply, body)

    def _failed(self, reply: Reply, body: Item) -> Verdict:
        """HTTP 2xx around a body that is no success."""
        code = answers.number(body.get("code")) or answers.number(body.get("status")) or 0.0
        if 400 <= code < 500:
            return self._refused(replace(reply, status=int(code)), body)
        # Neither a success nor a documented refusal: a word without a code, a 5xx, or no JSON at all.
        return unconfirmed("MobTexting's answer is no success and no refusal", f"{reply.status} {_said(body)}")

    def _refused(self, reply: Reply, body: Item) -> Verdict:
        """v2/index.md, HTTP STATUS CODES; which code lack of balance has is not said, only that it is a 4xx."""
        status, said = reply.status, _said(body)
        raw = ": ".join(filter(None, (str(status), said)))
        if status == 409:  # "you might be trying to update the same resource concurrently": not about the number
            wait = answers.retry_after(reply.headers, self._sender.now())
            return throttled("MobTexting was busy with the same resource", CONFLICT_WAIT if wait is None else wait, raw)
        if 400 <= status < 500 and status not in (401, 429) and _CREDIT.search(said):
            return pause(PauseFault.CREDIT, f"the account has no credit (HTTP {raw})", raw)
        if status == 422 and _blames_the_number(body, said):
            return bad_number(f"MobTexting refused the number: {said}", raw)
        return answers.status_verdict(reply, self._sender.now(), said)

    # --- results ---

    async def _result(self, call: RememberedCall) -> CallReport:
        if call.call_id is None:
            return answers.unreachable(call, "MobTexting gave no id to ask with")
        items = await self._callstatus("id", call.call_id)
        if isinstance(items, str):
            return answers.unreachable(call, items)
        item = next((item for item in items if _same_id(item.get("id"), call.call_id)), None)
        if item is None:  # an empty `data` is an id not known, or not yet
            return CallReport(ReportStatus.MISSING, call.attempt_id, call.call_id, reason="no such call is listed")
        return self._report(call, item)

    def _report(self, call: RememberedCall, item: Item) -> CallReport:
        """One row of callstatus, before or after 2024-07-10."""
        started, ended = (answers.instant(item.get(name), self._zone) for name in ("start_at", "end_at"))
        seconds = answers.whole_seconds(item.get("duration"))
        if seconds is None and started and ended and ended >= started:
            seconds = int(ended - started)
        if ended is not None and not call.sent_at - SLACK <= ended <= self._sender.now() + SLACK:
            ended = None  # read in the wrong time zone; a retry's delay must not run from there
        report = CallReport(ReportStatus.PENDING, call.attempt_id, call.call_id, raw=answers.word(item.get("status")))
        return self._ended(report, seconds, ended)

    def _ended(self, report: CallReport, seconds: int | None, ended_at: float | None) -> CallReport:
        """FINAL where the state says so and MobTexting will not dial the number again by itself."""
        disposition = STATES.get(report.raw.upper())
        if disposition is None or self._will_dial_again(disposition, ended_at):
            return report
        talk = seconds if disposition is Disposition.ANSWERED else None
        return replace(report, status=ReportStatus.FINAL, disposition=disposition, talk_seconds=talk, ended_at=ended_at)

    def _will_dial_again(self, disposition: Disposition, ended_at: float | None) -> bool:
        """With an `interval`, a miss is not the end, and how many tries there are is not documented: it is over when
        the time for another try has passed, or when the line's patience has."""
        interval = self._options.provider_retry_interval * 60.0
        if not interval or disposition is Disposition.ANSWERED:
            return False
        return ended_at is None or self._sender.now() < ended_at + interval + CANARY_REACH

    # --- the list ---

    async def _callstatus(self, name: str, value: str) -> list[Item] | str:
        """The rows, or the reason why there are none to read."""
        request = Request("GET", "/outgoing/callstatus", headers=self._headers, query=[(name, value)])
        reply = await self._sender.send(request)
        if isinstance(reply, Fault):
            return reply.reason
        body = answers.read_object(reply.body) or {}
        items = _items(body)
        if reply.status != 200 or not _succeeded(body) or items is None:
            return f"the answer holds no list of calls (HTTP {reply.status})"
        return items

    def _found(self, call: RememberedCall, item: Item, as_of: float) -> Finding:
        call_id = answers.usable_id(item.get("id"))
        if call_id is None:
            return answers.nothing_found(FindingKind.BLIND, as_of, "a call at that time has no id")
        report = self._report(replace(call, call_id=call_id), item)
        return Finding(FindingKind.FOUND, as_of, call_id, report, "a call to this number at that time")

    async def _absent(self, canary: RememberedCall | None, as_of: float) -> Finding:
        if canary is None:
            return answers.nothing_found(FindingKind.BLIND, as_of, "no ended call of ours to prove the list with")
        listed = await self._callstatus("mobile", answers.digits(canary.phone))
        if isinstance(listed, str):
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, listed)
        for item in listed:
            at = self._placed_at(item)
            known = canary.call_id is None or _same_id(item.get("id"), canary.call_id)
            in_time = at is not None and -SLACK <= at - canary.sent_at <= CANARY_REACH
            if known and in_time and self._same_numbers(item, canary):
                return answers.nothing_found(FindingKind.ABSENT, as_of, "the list shows a call of ours, and not this")
        return answers.nothing_found(FindingKind.BLIND, as_of, "the list hides a known call; is time_zone right?")

    def _same_numbers(self, item: Item, call: RememberedCall) -> bool:
        """The callee is ours and, where the row and we both name one, so is the bridge."""
        bridge, shown = self._options.bridge or call.caller_id, _either(item, "from", "caller_id")
        if not answers.same_number(call.phone, _either(item, "to", "mobile")):
            return False
        return not bridge or not shown or answers.same_number(bridge, shown)

    def _placed_at(self, item: Item) -> float | None:
        """When it was queued; rows from before 2024-07-10 only say when it started."""
        return answers.instant(_either(item, "created_at", "submitted_at", "start_at"), self._zone)


def _succeeded(body: Mapping[str, object], *, or_silent: bool = False) -> bool:
    status = body.get("status")
    return (or_silent and status is None) or answers.word(status).upper() in ("OK", "200")


def _items(body: Mapping[str, object]) -> list[Item] | None:
    data = body.get("data")
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else None


def _either(item: Item, *names: str) -> object:
    """The first of these fields that says anything: both generations of rows, and absent, null or "" alike."""
    return next((value for name in names if (value := item.get(name)) not in (None, "")), None)


def _said(body: Mapping[str, object]) -> str:
    return answers.word(body.get("message")) or answers.word(body.get("error"))


def _blames_the_number(body: Mapping[str, object], said: str) -> bool:
    """A 422 about `to`. Field-level errors are not documented; the framework's usual ``errors`` is read where it is."""
    errors = body.get("errors")
    if isinstance(errors, dict):
        return set(errors) <= {"to", "mobile"} and bool(errors)
    return bool(_NUMBER_FAULT.search(said)) and not _LINE_FAULT.search(said)


def _same_id(theirs: object, ours: str) -> bool:
    """Old ids end in ``:1``; whether callstatus and webhooks repeat that is not documented."""
    return (answers.usable_id(theirs) or "").partition(":")[0] == ours.partition(":")[0]


def _posted(delivery: WebhookDelivery) -> Item:
    """A composed webhook chooses between JSON and FormData."""
    if "x-www-form-urlencoded" in delivery.headers.get("content-type", ""):
        return dict(parse_qsl(delivery.body.decode("utf-8", "replace")))
    return answers.read_object(delivery.body) or {}


def _webhook_id(fields: Mapping[str, object]) -> str | None:
    """A composed webhook's ``id`` (or ``call_id``, its other example), else ``mid`` where it looks like a call's id:
    it is called "message id of the campaign", and whether it equals the id that `send` gave is not documented."""
    call_id = answers.usable_id(_either(dict(fields), "id", "call_id"))
    mid = answers.usable_id(fields.get("mid")) or ""
    return call_id or (mid if _CALL_ID.fullmatch(mid) else None)
