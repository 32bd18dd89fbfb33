"""NetSapiens API v2: the client's own call-id, active calls while they last, CDRs after (PROVIDERS §2)."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, CallState, Order
from campaign.providers.simulator.dialects.dialect import (
    FOREIGN_ID,
    Ask,
    Event,
    Words,
    as_number,
    moment,
    route,
    text,
    whole,
)
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

BASE = "(?:/ns-api/v2)?"
USER = f"{BASE}/domains/([^/]+)/users/([^/]+)"
UNSET = "0000-00-00T00:00:00+00:00"
LIMIT = 1000
PHONE_DIGITS = 7
"""The contact is the leg whose user has at least as many digits; agents and extensions have fewer."""

OLD_NAMES = {
    "call-orig-call-id": "orig_callid",
    "call-by-call-id": "by_callid",
    "call-by-action": "by_action",
    "call-term-call-id": "term_callid",
    "call-start-datetime": "time_begin",
    "call-answer-datetime": "time_answer",
    "call-orig-info": "orig_call_info",
    "term-orig-info": "term_call_info",
    "call-dialed-number": "dnis",
    "call-session-id": "session_id",
    "call-orig-uri": "orig_uri",
}


class NetSapiens:
    name: ClassVar[str] = "netsapiens"
    prefixes: ClassVar[tuple[str, ...]] = ("domains", "ns-api", "cdrs", "subscriptions")
    guards: ClassVar[bool] = False
    queues: ClassVar[bool] = False
    words: ClassVar[Words] = {
        Disposition.ANSWERED: ("Orig: Bye", Disposition.ANSWERED),
        Disposition.VOICEMAIL: ("Term: Bye", Disposition.VOICEMAIL),
        Disposition.BUSY: ("Term: 486", Disposition.BUSY),
        Disposition.NO_ANSWER: ("No Answer", Disposition.NO_ANSWER),
        Disposition.REJECTED: ("Term: 603", Disposition.REJECTED),
        Disposition.INVALID_NUMBER: ("Term: 404", Disposition.INVALID_NUMBER),
        Disposition.UNAVAILABLE: ("Term: 480", Disposition.UNAVAILABLE),
        Disposition.CANCELED: ("Orig: Cancel", Disposition.CANCELED),
        Disposition.ERROR: ("Term: 503", Disposition.ERROR),
        Disposition.UNKNOWN: ("", Disposition.UNKNOWN),
    }

    def __init__(self) -> None:
        self.routes = (
            route("POST", f"{USER}/calls", Place.ORIGINATE),
            route("GET", f"{USER}/calls/([^/]+)", Place.RESULTS, self.active),
            route("DELETE", f"{USER}/calls/([^/]+)", Place.CANCEL, self.hang_up),
            route("GET", f"{USER}/calls", Place.LIST, self.active_calls),
            route("GET", f"{BASE}/domains/([^/]+)/calls", Place.LIST, self.active_calls),
            route("GET", f"{BASE}/domains/([^/]+)/calls/count", Place.CHECK, self.count),
            route("GET", f"{BASE}/domains/([^/]+)/cdrs", Place.LIST, self.cdrs),
            route("GET", f"{BASE}/cdrs", Place.LIST, self.cdrs),
            route("GET", f"{USER}/cdrs", Place.LIST, self.user_cdrs),
            route("GET", USER, Place.CHECK, self.user),
            route("GET", f"{BASE}/domains/([^/]+)", Place.CHECK, self.user),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        token = request.bearer()
        return token is not None and key in (None, token)

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        domain, user = ask.params
        ref, term = text(body.get("call-id")), text(body.get("call-term-user"))
        orig = text(body.get("call-orig-user")) or f"{user}@{domain}"
        if not ref or not term or body.get("synchronous") not in ("yes", "no"):
            return self.refusal(400, "synchronous, call-id and call-term-user are required")
        dialled = next((leg for leg in (orig.partition("@")[0], term) if _is_phone(leg)), "")
        if not dialled:
            return self.refusal(404, "Record not found")
        details = {"domain": domain, "user": user, "orig": orig, "term": term, "synchronous": text(body["synchronous"])}
        caller = text(body.get("caller-id-number"))
        return Order(self.name, ask.account, as_number(dialled), dialled, ref, caller, {}, details)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        """There is no id to leave out: the client has chosen it."""
        if call.order.details["synchronous"] == "yes":
            return json_answer(200, _active(call, call.accepted_at, options) if with_id else {})
        bare = options.variant(self.name, "bare_body") or not with_id
        return json_answer(202, {} if bare else {"code": 202, "message": "Accepted"})

    def conflict(self, order: Order, call: Call | None) -> None:
        return None

    def invalid_number(self, order: Order) -> Answer:
        return self.refusal(404, "Record not found")

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"code": status, "message": message})

    def active(self, ask: Ask) -> Answer:
        call = ask.exchange.by_ref(self.name, ask.params[2])
        if call is None or not _goes_on(call, ask.now):
            return self.refusal(404, "Record not found")
        return json_answer(200, _active(call, ask.now, ask.options))

    def active_calls(self, ask: Ask) -> Answer:
        live = [call for call in ask.exchange.listed(self.name, ask.account, ask.now) if _goes_on(call, ask.now)]
        return json_answer(200, ask.kept([_active(call, ask.now, ask.options) for call in live]))

    def count(self, ask: Ask) -> Answer:
        return json_answer(200, {"total": ask.exchange.ledger.live_of(ask.account)})

    def hang_up(self, ask: Ask) -> Answer:
        call = ask.exchange.by_ref(self.name, ask.params[2])
        if call is None or not ask.exchange.cancel(call, ask.now):
            return self.refusal(404, "Record not found")
        return json_answer(200, {"code": 200, "message": "OK"})

    def cdrs(self, ask: Ask) -> Answer:
        calls = self._ended(ask)
        if isinstance(calls, Answer):
            return calls
        rows = ask.kept([self._cdr(call) for call in calls])
        if ask.foreign:
            rows.append(self._cdr_of_a_stranger(ask.now))
        return json_answer(200, rows)

    def user_cdrs(self, ask: Ask) -> Answer:
        """The old shape, without a reason."""
        calls = self._ended(ask)
        return calls if isinstance(calls, Answer) else json_answer(200, ask.kept([_old_cdr(call) for call in calls]))

    def user(self, ask: Ask) -> Answer:
        return json_answer(200, dict(zip(("domain", "user"), ask.params, strict=False)))

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """``call`` events without a cause, the last with ``remove``, then the ``cdr`` event. Always in arrays."""
        ids = {"orig_callid": call.order.ref, "by_action": "CallRequest", "by_callid": call.order.ref}
        base = ids | {"term_callid": call.id, "dnis": call.order.dialled, "ani": call.order.caller_id}
        started = base | {"time_start": moment(call.rings_at), "term_call_info": "progressing"}
        ended = base | {"time_start": moment(call.rings_at), "remove": "yes"}
        cdr = base | {
            "object": "cdr",
            "action": "INSERT",
            "duration": round(call.talk),
            "time_answer": moment(call.answered_at) or "0000-00-00 00:00:00",
            "time_release": moment(call.ends_at),
            "release_code": "end",
            "release_text": self.words[call.outcome][0],
        }
        if call.outcome is Disposition.VOICEMAIL:
            cdr["term_to_uri"] = "VMail"
        return [Event(call.rings_at, [started]), Event(call.told_at, [ended]), Event(call.told_at, [cdr])]

    def _ended(self, ask: Ask) -> list[Call] | Answer:
        """Ended calls within the asked window and page, newest first."""
        request = ask.request
        since, until = _instant(request.word("datetime-start")), _instant(request.word("datetime-end"))
        if since is None or until is None:
            return self.refusal(400, "datetime-start and datetime-end are required")
        dialled, wanted = request.word("dialled"), request.word("orig_callid")
        start, limit = whole(request.word("start"), 0), whole(request.word("limit"), 100)
        found = [
            call
            for call in ask.exchange.listed(self.name, ask.account, ask.now, since)
            if call.accepted_at <= until
            and call.told(ask.now) is not None
            and dialled in call.order.dialled
            and wanted in ("", call.order.ref)
        ]
        return found[start : start + min(limit, LIMIT)]

    def _cdr(self, call: Call) -> dict[str, Any]:
        order = call.order
        mailbox = call.outcome is Disposition.VOICEMAIL
        return {
            "id": call.id,
            "domain": order.details["domain"],
            "call-orig-call-id": order.ref,
            "call-term-call-id": call.id,
            "call-through-call-id": order.ref,
            "call-through-action": "CallRequest",
            "call-parent-call-id": order.ref,
            "call-leg-ordinal-index": 1,
            "call-start-datetime": _written(call.rings_at),
            "call-ringing-datetime": _written(call.rings_at),
            "call-answer-datetime": UNSET if call.answered_at is None else _written(call.answered_at),
            "call-disconnect-datetime": _written(call.ends_at),
            "call-total-duration-seconds": round(call.ring + call.talk),
            "call-talking-duration-seconds": round(call.talk),
            "call-disconnect-reason-text": self.words[call.outcome][0],
            "call-direction": 1,
            "call-orig-user": order.details["orig"].partition("@")[0],
            "call-orig-caller-id": order.caller_id,
            "call-orig-to-user": order.details["term"],
            "call-term-user": order.details["term"],
            "call-term-to-uri": "VMail" if mailbox else f"sip:{order.details['term']}@{order.details['domain']}",
        }

    def _cdr_of_a_stranger(self, now: float) -> dict[str, Any]:
        instants = {"call-start-datetime": _written(now - 60), "call-disconnect-datetime": _written(now - 20)}
        said = {"call-answer-datetime": _written(now - 50), "call-disconnect-reason-text": "Orig: Bye"}
        return {"id": FOREIGN_ID, "call-orig-call-id": FOREIGN_ID, "call-term-user": "10000000000"} | instants | said


def _active(call: Call, now: float, options: SimulatorOptions) -> dict[str, Any]:
    order = call.order
    talking = call.told_state(now) is CallState.TALKING
    row = {
        "call-session-id": call.id,
        "call-orig-call-id": order.ref,
        "call-by-action": "CallRequest",
        "call-by-call-id": order.ref,
        "call-term-call-id": call.id,
        "call-orig-uri": order.details["orig"],
        "call-dialed-number": order.details["term"],
        "call-start-datetime": _written(call.rings_at),
        "call-answer-datetime": _written(call.answered_at) if talking and call.answered_at else UNSET,
        "call-orig-info": "active",
        "term-orig-info": "active" if talking else "progressing",
    }
    return (
        {OLD_NAMES[name]: value for name, value in row.items()} if options.variant("netsapiens", "old_names") else row
    )


def _old_cdr(call: Call) -> dict[str, Any]:
    return {
        "uid": f"{call.order.details['user']}@{call.order.details['domain']}",
        "cdr_id": call.id,
        "type": 0,
        "time_start": moment(call.rings_at),
        "time_answer": moment(call.answered_at) or "0000-00-00 00:00:00",
        "time_release": moment(call.ends_at),
        "duration": round(call.talk),
        "number": call.order.dialled,
    }


def _goes_on(call: Call, now: float) -> bool:
    return call.listed_at <= now and call.told_state(now) in (CallState.RINGING, CallState.TALKING)


def _is_phone(leg: str) -> bool:
    return len(as_number(leg)) > PHONE_DIGITS


def _written(instant: float) -> str:
    return moment(instant, "%Y-%m-%dT%H:%M:%S+00:00") or UNSET


def _instant(written: str) -> float | None:
    """``2023-11-27 13:00:00``, RFC 3339, or either with a zone in brackets, which is not looked at."""
    try:
        read = datetime.fromisoformat(written.partition("[")[0].strip())
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
