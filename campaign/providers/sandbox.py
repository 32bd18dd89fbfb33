"""The sandbox's own dialect: no telephone rings. ``docs/sandbox.md`` describes the server and this contract.

It offers all that a campaign could wish for, so that every path of the engine has one provider on which it is short:
results in batches, our id on every call and in every list, numbers in lists, cancel, webhooks. No secret is needed.
A conflict names the call that holds the number, so it is no riddle: our own is adopted at once, another's never is,
which is why ``conflict_proves`` stays False.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

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
from campaign.domain.verdicts import PauseFault, Verdict, bad_number, conflict, pause, placed, unconfirmed
from campaign.providers import answers
from campaign.providers.port import AT_ONCE, Capabilities, Fault, Reply, Request, Sender

CLOCKS_APART = 60.0
"""Seconds that the sandbox's clock may differ from ours."""

PAGES = 20
OUTCOMES: Mapping[str, Disposition] = {disposition.value: disposition for disposition in Disposition}


class SandboxOptions(Words):
    """None: whatever there is to set is set at the server."""


class Sandbox:
    """One account of a sandbox. A ``token`` is only needed where the server was started with a key."""

    name: ClassVar[str] = "sandbox"
    capabilities: ClassVar[Capabilities] = Capabilities(
        poll=True,
        webhook=True,
        find_by_our_id=True,
        find_by_number=True,
        cancel=True,
        variables=True,
        poll_batch=200,
        list_lag=2.0,
        looks_after=1.0,
        queue_delay=AT_ONCE,
    )
    options: ClassVar[type[Words]] = SandboxOptions
    credentials: ClassVar[frozenset[str]] = frozenset()
    optional_credentials: ClassVar[frozenset[str]] = frozenset({"token"})
    default_base_url: ClassVar[str | None] = "http://127.0.0.1:8777"

    def __init__(self, line: Line, sender: Sender) -> None:
        SandboxOptions.model_validate(line.options)
        token = line.secret("token") if "token" in line.credentials else None
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._sender = sender

    async def originate(self, call: OutboundCall) -> Verdict:
        body = {"ref": call.our_ref, "to": call.phone, "from": call.caller_id, "variables": dict(call.variables)}
        reply = await self._sender.send(Request("POST", "/sandbox/calls", self._headers, json=body))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        return _verdict(reply, call, self._sender.now())

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        ids = [call.call_id for call in calls if call.call_id]
        if not ids:
            return [answers.unreachable(call, "the sandbox is asked by its own id") for call in calls]
        reply = await self._sender.send(Request("POST", "/sandbox/results", self._headers, json={"ids": ids}))
        shown = _calls(reply)
        if isinstance(shown, str):
            return [answers.unreachable(call, shown) for call in calls]
        by_id = {answers.usable_id(each.get("id")): each for each in shown}
        return [_result(call, by_id) for call in calls]

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """By our id among the calls to the number, or the first of them where that is lost. One query asks for the
        canary's number too, so it proves the form in which numbers travel, the window of time and the list itself."""
        as_of = self._sender.now()
        listed = await self._listed(call, canary)
        if isinstance(listed, str):
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, listed)
        ours = [each for each in listed if _may_be(each, call)]
        if ours:
            first = min(ours, key=_accepted_at)
            return Finding(
                FindingKind.FOUND, as_of, answers.usable_id(first.get("id")), _report(first, call.attempt_id)
            )
        if canary is None or not any(_is(each, canary) for each in listed):
            return answers.nothing_found(FindingKind.BLIND, as_of, "the list does not show a call that is known")
        return answers.nothing_found(FindingKind.ABSENT, as_of, "the list shows a call that is known, and not this one")

    async def cancel(self, call: RememberedCall) -> bool:
        if call.call_id is None:
            return False
        path = f"/sandbox/calls/{quote(call.call_id, safe='')}"
        reply = await self._sender.send(Request("DELETE", path, self._headers))
        return isinstance(reply, Reply) and reply.status == 200 and answers.read_object(reply.body) is not None

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        event = answers.read_object(delivery.body) or {}
        shown = event.get("call")
        if not isinstance(shown, dict) or answers.usable_id(shown.get("id")) is None:
            return []
        return [_report(shown, None)]

    async def identify(self, report: CallReport) -> CallReport:
        return report

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        return None

    async def check(self) -> Verdict:
        reply = await self._sender.send(Request("GET", "/sandbox/account", self._headers))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        if reply.status == 200 and "account" in (answers.read_object(reply.body) or {}):
            return placed(None, "200")
        if reply.status == 200:
            return pause(PauseFault.CONFIG, "what answers is not the sandbox; correct base_url of the line", "200")
        return answers.status_verdict(reply, self._sender.now(), _error(reply))

    async def _listed(self, call: RememberedCall, canary: RememberedCall | None) -> list[dict[str, object]] | str:
        """The calls to both numbers since the earlier of the two, or why they cannot be read to their end."""
        since = min([call.sent_at, *([canary.sent_at] if canary else [])]) - CLOCKS_APART
        numbers = [call.phone, *([canary.phone] if canary else [])]
        query = [("since", f"{since:.3f}"), *(("to", number) for number in numbers)]
        listed: list[dict[str, object]] = []
        after: list[tuple[str, str]] = []
        for _ in range(PAGES):
            reply = await self._sender.send(Request("GET", "/sandbox/calls", self._headers, query=query + after))
            shown = _calls(reply)
            if isinstance(shown, str) or isinstance(reply, Fault):
                return shown if isinstance(shown, str) else "no answer"
            listed += shown
            following = answers.usable_id((answers.read_object(reply.body) or {}).get("next"))
            if following is None:
                return listed
            after = [("after", following)]
        return "the list does not end"


def _verdict(reply: Reply, call: OutboundCall, now: float) -> Verdict:
    body = answers.read_object(reply.body) or {}
    said = answers.word(body.get("error"))
    raw = f"{reply.status}: {said}" if said else str(reply.status)
    if reply.status in (200, 202):
        call_id = answers.usable_id(body.get("id"))
        return placed(call_id, raw) if call_id else unconfirmed("accepted without an id", raw)
    if reply.status == 409:
        ours = answers.usable_id(body.get("existing_id")) if body.get("existing_ref") == call.our_ref else None
        return placed(ours, raw) if ours else conflict("the number is in another call", raw)
    if reply.status == 422 and said == "invalid_number":
        return bad_number("there is no such number", raw)
    return answers.status_verdict(reply, now, said)


def _error(reply: Reply) -> str:
    return answers.word((answers.read_object(reply.body) or {}).get("error"))


def _calls(reply: Reply | Fault) -> list[dict[str, object]] | str:
    """The calls of an answer, or why there are none to read."""
    if isinstance(reply, Fault):
        return reply.reason
    calls = (answers.read_object(reply.body) or {}).get("calls") if reply.status == 200 else None
    if not isinstance(calls, list):
        return f"no calls in the answer (HTTP {reply.status})"
    return [call for call in calls if isinstance(call, dict)]


def _may_be(shown: Mapping[str, object], call: RememberedCall) -> bool:
    call_id = answers.usable_id(shown.get("id"))
    if call_id is None or call.lost_until is None:
        return call_id is not None and shown.get("ref") == call.our_ref
    recent = _accepted_at(shown) >= call.sent_at - CLOCKS_APART
    return recent and call_id not in call.others and answers.same_number(call.phone, shown.get("to"))


def _accepted_at(shown: Mapping[str, object]) -> float:
    return answers.instant(shown.get("accepted_at")) or 0.0


def _is(shown: Mapping[str, object], call: RememberedCall) -> bool:
    return shown.get("ref") == call.our_ref or (call.call_id is not None and shown.get("id") == call.call_id)


def _result(call: RememberedCall, by_id: Mapping[str | None, Mapping[str, object]]) -> CallReport:
    if call.call_id is None:
        return answers.unreachable(call, "the sandbox is asked by its own id")
    shown = by_id.get(call.call_id)
    if shown is None:
        return CallReport(
            ReportStatus.MISSING, call.attempt_id, call.call_id, call.our_ref, reason="the sandbox does not know it"
        )
    return _report(shown, call.attempt_id)


def _report(shown: Mapping[str, object], attempt_id: int | None) -> CallReport:
    """One call as lists, results and events show it. Only ``ended`` with an outcome that is known ends an attempt."""
    state, outcome = answers.word(shown.get("state")), answers.word(shown.get("outcome"))
    disposition = OUTCOMES.get(outcome) if state == "ended" else None
    return CallReport(
        ReportStatus.PENDING if disposition is None else ReportStatus.FINAL,
        attempt_id,
        call_id=answers.usable_id(shown.get("id")),
        our_ref=answers.usable_id(shown.get("ref")),
        phone=answers.dialled(shown.get("to")),
        disposition=disposition,
        raw=outcome or state,
        answered_at=answers.instant(shown.get("answered_at")),
        ended_at=answers.instant(shown.get("ended_at")),
        talk_seconds=answers.whole_seconds(shown.get("talk_seconds")),
        rang=shown["rang_at"] is not None if "rang_at" in shown else None,
    )
