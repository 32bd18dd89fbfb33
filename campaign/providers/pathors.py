"""Pathors: AI voice agents. A call is queued by number, and how it ended comes by webhook only.

Sources: docs.pathors.com/en/api-reference/v1/calls/create-outbound-call (route `v1`), …/call/create-call (route
`project`, announced to stop on 2026-07-11), …/webhook/payloads, …/session/search-sessions, …/session/query-session,
…/status-reference (read 2026-11). Three things shape this file. The answer to a call names no id. One number can have
one call in their queue or in flight at a time, so a 409 after a lost answer proves that ours was accepted. Webhooks
name neither a number nor an id of ours, so our reference travels among the call's variables and is looked for there.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

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
from campaign.providers.port import Capabilities, Fault, Reply, Request, Sender

STATES: Mapping[str, Disposition] = {
    "userHangup": Disposition.ANSWERED,
    "agentHangup": Disposition.ANSWERED,
    "transferred": Disposition.ANSWERED,
    "transferFailed": Disposition.ANSWERED,  # in the status reference only, not in the webhook's list
    "errorTransferred": Disposition.ANSWERED,
    "voicemail": Disposition.VOICEMAIL,
    "busy": Disposition.BUSY,
    "userNoAnswer": Disposition.NO_ANSWER,
    "userRejected": Disposition.REJECTED,
    "invalidNumber": Disposition.INVALID_NUMBER,
    "sipTrunkFailure": Disposition.ERROR,
    "agentNoAnswer": Disposition.ERROR,
    "error": Disposition.ERROR,
    "unknown": Disposition.UNKNOWN,
    "Ended": Disposition.UNKNOWN,  # in the webhook's list only
}
"""``callStatus``, case-sensitive: "Ended" is not "ended"."""

NOTES: Mapping[str, str] = {
    "transferFailed": "the transfer to a person failed",
    "errorTransferred": "the agent failed and the call was transferred",
    "sipTrunkFailure": "the SIP trunk failed; more of these mean that the trunk is down",
    "agentNoAnswer": "no agent joined; the person may have heard silence",
}

AFTER_THE_CALL = frozenset({"call.ended", "session.finalized"})
"""Events whose ``callStatus`` is the last word; with ``session.ended`` it "may not be available yet"."""

CAMPAIGN_REF = "campaign_ref"

_OUR_REF = re.compile(CAMPAIGN_REF + r"[\\\"':\s]{1,12}([0-9a-f]{32})(?![0-9a-f])")
"""Our reference in a session's or a webhook's JSON, wherever it is: variables are "stringified" on their way, so it may
be a key, or text inside of text."""


class PathorsOptions(Words):
    project_id: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="the project whose agent calls, e.g. proj_abc123")
    route: Literal["v1", "project"] = Field(
        "v1", description="v1: POST /v1/calls/outbound. project: the older path under /project/PROJECT_ID"
    )
    # v1 documents E.164 for all; the older route asks for Taiwanese numbers "without the +886 country code prefix".
    number_format: Literal["e164", "national_tw"] | None = Field(
        None, description="national_tw writes +886912345678 as 0912345678; default: what the route documents"
    )


class Pathors:
    """One project of an account; its agent follows from the project."""

    name: ClassVar[str] = "pathors"
    capabilities: ClassVar[Capabilities] = Capabilities(
        webhook=True,
        find_by_our_id=True,
        conflict_proves=True,
        variables=True,
    )
    options: ClassVar[type[Words]] = PathorsOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"api_key"})
    default_base_url: ClassVar[str | None] = "https://api.pathors.com"

    def __init__(self, line: Line, sender: Sender) -> None:
        self._sender = sender
        self._headers = {"Authorization": f"Bearer {line.secret('api_key')}"}
        self._options = PathorsOptions.model_validate(line.options)
        self._sessions = f"/v1/projects/{self._options.project_id}/sessions"

    async def originate(self, call: OutboundCall) -> Verdict:
        if not call.caller_id:
            return pause(PauseFault.CONFIG, "Pathors needs a number to call from; set caller_ids of the line")
        reply = await self._sender.send(self._call_request(call, call.caller_id))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        if 200 <= reply.status < 300:
            return _accepted(reply)
        return _refused(reply, self._sender.now())

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        """Never asks: there is no such question, and what a session shows has no call status in it."""
        return [answers.unreachable(call, "Pathors tells how a call ended by webhook only") for call in calls]

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """By our reference among the variables of sessions.

        A session that holds it is our call. None proves nothing: whether a call that nobody answered makes a session,
        and whether variables are searched at all, is not documented. So the answer is never ABSENT.
        """
        as_of = self._sender.now()
        body = {"search_string": call.our_ref, "limit": 10, "offset": 0}
        reply = await self._sender.send(Request("POST", f"{self._sessions}/search", headers=self._headers, json=body))
        if isinstance(reply, Fault):
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, reply.reason)
        sessions = (answers.read_object(reply.body) or {}).get("results") if reply.status == 200 else None
        if not isinstance(sessions, list):
            reason = f"the answer holds no sessions (HTTP {reply.status})"
            return answers.nothing_found(FindingKind.UNREACHABLE, as_of, reason)
        for session in sessions:
            if found := _session_of(call, session):
                report = CallReport(ReportStatus.PENDING, call.attempt_id, found, call.our_ref, raw="session")
                return Finding(FindingKind.FOUND, as_of, found, report, "a session has our reference")
        reason = "no session has our reference; a call that was not answered may have made none"
        return answers.nothing_found(FindingKind.BLIND, as_of, reason)

    async def cancel(self, call: RememberedCall) -> bool:
        """Always False: not offered."""
        return False

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """One report per delivery. Events are not signed and may come twice or in any order."""
        body = answers.read_object(delivery.body) or {}
        call_id = answers.usable_id(body.get("sessionId"))
        if call_id is None or body.get("projectId", self._options.project_id) != self._options.project_id:
            return []
        event, state = answers.word(body.get("event")), answers.word(body.get("callStatus"))
        report = CallReport(ReportStatus.PENDING, call_id=call_id, our_ref=_our_ref(delivery.body), raw=state or event)
        disposition = STATES.get(state, Disposition.UNKNOWN) if state else None
        if disposition is None or (disposition is Disposition.UNKNOWN and event not in AFTER_THE_CALL):
            return [report]
        return [_final(report, disposition, body)]

    async def identify(self, report: CallReport) -> CallReport:
        """Asks the session for our reference, where the webhook did not repeat it."""
        if report.our_ref is not None or report.call_id is None:
            return report
        path = f"{self._sessions}/{quote(report.call_id, safe='')}"
        reply = await self._sender.send(Request("GET", path, headers=self._headers))
        if isinstance(reply, Fault) or reply.status != 200:
            return report
        return replace(report, our_ref=_our_ref(reply.body))

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        return None

    async def check(self) -> Verdict:
        reply = await self._sender.send(Request("GET", "/v1/projects", headers=self._headers))
        if isinstance(reply, Fault):
            return answers.fault_verdict(reply)
        if not 200 <= reply.status < 300:
            return answers.status_verdict(reply, self._sender.now(), _message(reply))
        if answers.read_json(reply.body) is answers.UNREADABLE:
            return pause(PauseFault.CONFIG, "this is not Pathors; correct base_url (https://api.pathors.com)")
        return placed(None, str(reply.status))

    def _call_request(self, call: OutboundCall, from_number: str) -> Request:
        body: dict[str, object] = {
            "fromNumber": from_number,
            "toNumber": self._written(call.phone),
            "dynamicVariables": {**call.variables, CAMPAIGN_REF: call.our_ref},
        }
        if self._options.route == "v1":
            path, body = "/v1/calls/outbound", {"projectId": self._options.project_id, **body}
        else:
            path = f"/project/{self._options.project_id}/integration/phone/call/outbound"
        return Request("POST", path, headers=self._headers, json=body)

    def _written(self, phone: str) -> str:
        chosen = self._options.number_format
        national = chosen == "national_tw" or (chosen is None and self._options.route == "project")
        return "0" + phone.removeprefix("+886") if national and phone.startswith("+886") else phone


def _accepted(reply: Reply) -> Verdict:
    """200 means queued for their scheduler. No id is documented; where an answer has a session's, webhooks match it."""
    body = answers.read_object(reply.body) or {}
    if body.get("success") is not True:
        return unconfirmed("Pathors' answer does not say that the call was queued", str(reply.status))
    return placed(answers.usable_id(body.get("sessionId")), str(reply.status))


def _refused(reply: Reply, now: float) -> Verdict:
    """Both routes' tables of errors. 402 and 403 are v1's; 404 is about fromNumber in both, never about the callee."""
    message = _message(reply)
    raw = f"{reply.status}: {message}" if message else str(reply.status)
    if reply.status == 409:
        return conflict("a call to this number is already queued or in flight at Pathors", raw)
    if reply.status == 400:
        blamed = reply.body.decode("utf-8", "replace")
        # 400 is a missing or ill-formed field, or a fromNumber that is not active. We always send both numbers.
        if "toNumber" in blamed and "fromNumber" not in blamed:
            return bad_number(f"Pathors refused the number: {message}", raw)
    return answers.status_verdict(reply, now, message)


def _message(reply: Reply) -> str:
    """``{"error": "text"}`` on the older routes, ``{"error": {"message": "text", "details": {}}}`` on v1."""
    error = (answers.read_object(reply.body) or {}).get("error")
    return answers.word(error.get("message")) if isinstance(error, dict) else answers.word(error)


def _final(report: CallReport, disposition: Disposition, body: Mapping[str, object]) -> CallReport:
    seconds = answers.whole_seconds(body.get("callDuration"))
    reason = NOTES.get(report.raw, "")
    if disposition is Disposition.NO_ANSWER and seconds:
        reason = "the person was on the line and never spoke"  # the status reference says so; the duration tells which
    return replace(
        report,
        status=ReportStatus.FINAL,
        disposition=disposition,
        reason=reason,
        talk_seconds=seconds,
        ended_at=answers.instant(body.get("timestamp")),
    )


def _session_of(call: RememberedCall, session: object) -> str | None:
    """The session's id where its own content holds our reference: the search's word alone is not taken for it."""
    if not isinstance(session, dict):
        return None
    try:
        ours = call.our_ref in json.dumps(session)
    except RecursionError:  # nested just as deep as could be read
        ours = False
    return answers.usable_id(session.get("sessionId")) if ours else None


def _our_ref(body: bytes) -> str | None:
    found = _OUR_REF.search(body.decode("utf-8", "replace"))
    return found[1] if found else None
