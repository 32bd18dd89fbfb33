"""Pathors: both outbound routes, sessions that hold the variables, results only by webhook (PROVIDERS §5)."""

from typing import Any, ClassVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, Order
from campaign.providers.simulator.dialects.dialect import FOREIGN_ID, Ask, Event, Words, as_number, rfc3339, route, text
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

LIMIT = 100
SUNSET = (("Deprecation", "true"), ("Sunset", "Sat, 11 Jul 2026 00:00:00 GMT"))
"""Carried by every answer on the routes that v1 replaced (migration page of 2026-06)."""


class Pathors:
    name: ClassVar[str] = "pathors"
    prefixes: ClassVar[tuple[str, ...]] = ("v1", "project")
    guards: ClassVar[bool] = True
    queues: ClassVar[bool] = True
    words: ClassVar[Words] = {
        Disposition.ANSWERED: ("userHangup", Disposition.ANSWERED),
        Disposition.VOICEMAIL: ("voicemail", Disposition.VOICEMAIL),
        Disposition.BUSY: ("busy", Disposition.BUSY),
        Disposition.NO_ANSWER: ("userNoAnswer", Disposition.NO_ANSWER),
        Disposition.REJECTED: ("userRejected", Disposition.REJECTED),
        Disposition.INVALID_NUMBER: ("invalidNumber", Disposition.INVALID_NUMBER),
        Disposition.UNAVAILABLE: ("sipTrunkFailure", Disposition.ERROR),
        Disposition.CANCELED: ("error", Disposition.ERROR),
        Disposition.ERROR: ("sipTrunkFailure", Disposition.ERROR),
        Disposition.UNKNOWN: ("unknown", Disposition.UNKNOWN),
    }

    def __init__(self) -> None:
        self.routes = (
            route("POST", "/v1/calls/outbound", Place.ORIGINATE),
            route("POST", "/project/([^/]+)/integration/phone/call/outbound", Place.ORIGINATE),
            route("POST", "/v1/projects/([^/]+)/calls/outbound", Place.ORIGINATE),
            route("POST", "/(?:v1/projects|project)/([^/]+)/sessions?/search", Place.LIST, self.search),
            route("GET", "/(?:v1/projects|project)/([^/]+)/sessions?/([^/]+)", Place.RESULTS, self.session),
            route("GET", "/(?:v1/projects|project)/([^/]+)/(?:sessions|session-history)", Place.LIST, self.sessions),
            route("GET", "/v1/projects", Place.CHECK, self.projects),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        token = request.bearer()
        return token is not None and key in (None, token)

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        project = ask.params[0] if ask.params else text(body.get("projectId"))
        dialled, caller = text(body.get("toNumber")), text(body.get("fromNumber"))
        variables = body.get("dynamicVariables") or {}
        if not project or not dialled or not caller or not as_number(dialled):
            return self.refusal(400, "projectId, fromNumber and toNumber are required")
        if not isinstance(variables, dict):
            return self.refusal(400, "dynamicVariables must be an object")
        old = ask.request.path.endswith("/integration/phone/call/outbound")
        details = {"project": project, "route": "project" if old else "v1"}
        return Order(self.name, ask.account, e164(dialled), dialled, None, caller, variables, details)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        """There is no id: nothing ties the answer to the session but what the caller put into the variables."""
        if call.order.details["route"] == "project":
            return json_answer(200, {"success": True} if with_id else {}, SUNSET)
        body: dict[str, Any] = {"success": True}
        if options.variant(self.name, "call_id"):
            body["callId"] = call.id
        return json_answer(200, body if with_id else {})

    def conflict(self, order: Order, call: Call | None) -> Answer:
        if order.details["route"] == "project":
            return json_answer(409, {"error": "toNumber is already in the call queue"}, SUNSET)
        return self.refusal(409, "An outbound call to this number is already in flight")

    def invalid_number(self, order: Order) -> None:
        return None

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"error": {"message": message, "details": {}}})

    def search(self, ask: Ask) -> Answer:
        """A case-sensitive match over ids and variables, newest first. (The real one reads the whole session.)"""
        body = ask.request.fields
        wanted, offset = text(body.get("search_string")), _whole(body.get("offset"), 0)
        limit = min(_whole(body.get("limit"), 50), LIMIT)
        found = [call for call in self._sessions(ask) if _holds(call, wanted)]
        page = ask.kept([record(call, ask.now) for call in found[offset : offset + limit]])
        if ask.foreign:
            page.append({"sessionId": FOREIGN_ID, "data": {"variables": {}}, "createdAt": rfc3339(ask.now - 60)})
        return json_answer(
            200, {"results": page, "pagination": {"limit": limit, "offset": offset, "total": len(found)}}
        )

    def session(self, ask: Ask) -> Answer:
        call = ask.exchange.call(ask.params[1])
        if call is None or call not in self._sessions(ask, only=call):
            return json_answer(404, {"error": "Session not found"})
        state = {"variables": dict(call.order.variables), "messages": _messages(call, ask.now)}
        return json_answer(200, {"sessionId": call.id, "state": state})

    def sessions(self, ask: Ask) -> Answer:
        size = min(max(_whole(ask.request.word("pageSize"), 20), 1), LIMIT)
        page = max(_whole(ask.request.word("page"), 1), 1)
        found = self._sessions(ask)
        items = [_summary(call, ask.now) for call in ask.kept(found[(page - 1) * size : page * size])]
        pagination = {"page": page, "totalPages": -(-len(found) // size), "total": len(found)}
        return json_answer(200, {"sessions": items, "pagination": pagination})

    def projects(self, ask: Ask) -> Answer:
        return json_answer(200, {"projects": []})

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """No phone number and no id of the client's in any of them, as documented."""
        if call.whims.swallowed:
            return []
        base = {"sessionId": call.id, "projectId": call.order.details["project"]}
        outcome = {"callStatus": self.words[call.outcome][0], "callDuration": round(call.talk)}
        final: dict[str, object] = {
            "currentNodeId": "end",
            "messagesCount": 2 if call.talk else 0,
            "extractedVariables": {},
        }
        ended, told = {"timestamp": rfc3339(call.ends_at)}, {"timestamp": rfc3339(call.told_at)}
        return [
            Event(call.ends_at, {"event": "session.ended"} | ended | base),
            Event(call.told_at, {"event": "call.ended"} | told | base | outcome),
            Event(call.told_at, {"event": "session.finalized"} | told | base | final | outcome),
        ]

    def _sessions(self, ask: Ask, only: Call | None = None) -> list[Call]:
        """The project's sessions, newest first: one per call from its first ring on."""
        quiet = ask.options.variant(self.name, "quiet_unanswered")
        calls = [only] if only else ask.exchange.listed(self.name, ask.account, ask.now)
        return [
            call
            for call in calls
            if call.order.details["project"] == ask.params[0]
            and call.listed_at <= ask.now
            and (not quiet or (call.answered_at is not None and call.answered_at <= ask.now))
        ]


def _holds(call: Call, wanted: str) -> bool:
    return wanted in call.id or any(
        wanted in name or wanted in text(said) for name, said in call.order.variables.items()
    )


def record(call: Call, now: float) -> dict[str, Any]:
    """A session as the search shows it."""
    return {
        "sessionId": call.id,
        "data": {"variables": dict(call.order.variables), "messages": _messages(call, now)},
        "createdAt": rfc3339(call.rings_at),
        "updatedAt": rfc3339(min(now, call.ends_at)),
    }


def _summary(call: Call, now: float) -> dict[str, Any]:
    return {
        "sessionId": call.id,
        "startTime": rfc3339(call.rings_at),
        "endTime": rfc3339(call.ends_at) if now >= call.ends_at else None,
        "provider": "phone",
        "messageCount": len(_messages(call, now)),
        "marked": False,
        "evaluation": None,
    }


def _messages(call: Call, now: float) -> list[dict[str, str]]:
    if call.answered_at is None or now < call.answered_at:
        return []
    return [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hello"}]


def e164(dialled: str) -> str:
    """The legacy route takes Taiwanese numbers as 09…; the ledger keys all numbers by E.164."""
    number = as_number(dialled)
    return "+886" + number[2:] if number.startswith("+0") else number


def _whole(value: object, default: int) -> int:
    try:
        return max(int(text(value)), 0)
    except ValueError:
        return default
