"""Nexbro IP-PBX: a call per extension, results as call detail records after the end (PROVIDERS §1)."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, Order
from campaign.providers.simulator.dialects.dialect import (
    FOREIGN_ID,
    Ask,
    Event,
    Words,
    as_number,
    clock,
    moment,
    route,
    text,
    whole,
)
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

ROOT = "/admin/api/nexbro/v1"
PER_PAGE = 100
DAY_LIMIT = 1_000_000
OLD_NAMES = {
    "call_uuid": "xml_cdr_uuid",
    "start_time": "start_epoch",
    "answer_time": "answer_epoch",
    "end_time": "end_epoch",
}
"""An older copy of the page (nexbro.com/?p=3546) names the fields so; the values are written alike."""

CAUSES = {
    Disposition.ANSWERED: "Call was terminated normally by either party.",
    Disposition.VOICEMAIL: "Call was terminated normally by either party.",
    Disposition.BUSY: "The destination was busy.",
    Disposition.NO_ANSWER: "There was no answer from the destination.",
    Disposition.REJECTED: "The call was rejected by the destination.",
    Disposition.INVALID_NUMBER: "The number does not exist (unallocated number).",
    Disposition.UNAVAILABLE: "The destination was unreachable.",
    Disposition.CANCELED: "The call was canceled by the originator.",
    Disposition.ERROR: "Normal temporary failure.",
    Disposition.UNKNOWN: "",
}


class Nexbro:
    name: ClassVar[str] = "nexbro"
    prefixes: ClassVar[tuple[str, ...]] = ("admin",)
    guards: ClassVar[bool] = False
    queues: ClassVar[bool] = False
    words: ClassVar[Words] = {
        Disposition.ANSWERED: ("ANSWERED", Disposition.ANSWERED),
        Disposition.VOICEMAIL: ("ANSWERED", Disposition.ANSWERED),
        Disposition.BUSY: ("MISSED", Disposition.BUSY),
        Disposition.NO_ANSWER: ("MISSED", Disposition.NO_ANSWER),
        Disposition.REJECTED: ("MISSED", Disposition.REJECTED),
        Disposition.INVALID_NUMBER: ("MISSED", Disposition.INVALID_NUMBER),
        Disposition.UNAVAILABLE: ("MISSED", Disposition.UNAVAILABLE),
        Disposition.CANCELED: ("MISSED", Disposition.CANCELED),
        Disposition.ERROR: ("MISSED", Disposition.ERROR),
        Disposition.UNKNOWN: ("", Disposition.UNKNOWN),
    }

    def __init__(self) -> None:
        self.routes = (
            route("POST", f"{ROOT}/call/originate", Place.ORIGINATE),
            route("GET", f"{ROOT}/(call/)?call-detail-record/([^/]+)", Place.RESULTS, self.record),
            route("GET", f"{ROOT}/(call/)?call-detail-records", Place.LIST, self.records),
            route("POST", f"{ROOT}/call/hangup/([^/]+)", Place.CANCEL, self.hang_up),
            route("GET", f"{ROOT}/extensions", Place.CHECK, self.extensions),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        given = request.headers.get("x-api-key")
        return bool(given) and key in (None, given)

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        dialled = text(body.get("destination_number"))
        missing = [field for field in ("extension", "destination_number", "gateway_uuid") if not text(body.get(field))]
        if missing or not as_number(dialled):
            fields = missing or ["destination_number"]
            errors = {field: [f"The {field} field is required."] for field in fields}
            return json_answer(422, {"message": "The given data was invalid.", "errors": errors})
        caller = text(body.get("caller_id_number"))
        details = {"extension": text(body["extension"])}
        return Order(self.name, ask.account, as_number(dialled), dialled, None, caller, {}, details)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        data = {"call_uuid": call.id} if with_id else {}
        return _answer(data, (("X-RateLimit-Limit", str(DAY_LIMIT)), ("X-RateLimit-Remaining", str(DAY_LIMIT - 1))))

    def conflict(self, order: Order, call: Call | None) -> None:
        return None

    def invalid_number(self, order: Order) -> None:
        return None

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"message": message})

    def record(self, ask: Ask) -> Answer:
        """404 is also the documented answer while the call goes on."""
        nested, call_id = ask.params
        call = ask.exchange.call(call_id)
        if call is None or call.told(ask.now) is None or not _served(ask.options, nested):
            return self.refusal(404, "The call detail record cannot be found or is not available yet.")
        return _answer(self._cdr(call, ask.options) | {"call_flow": _legs(call)})

    def records(self, ask: Ask) -> Answer:
        request, nested = ask.request, ask.params[0]
        if not _served(ask.options, nested):
            return self.refusal(404, "Not found.")
        rows = [self._cdr(call, ask.options) for call in self._listed(ask)]
        if request.word("direction", "desc") == "asc":
            rows.reverse()
        size = min(whole(request.word("per_page"), 15), PER_PAGE)
        page = max(whole(request.word("page"), 1), 1)
        shown = ask.kept(rows[(page - 1) * size : page * size])
        if ask.foreign:
            shown.append(self._stranger(ask.now))
        return _answer({"current_page": page, "data": shown, "per_page": size, "total": len(rows)})

    def hang_up(self, ask: Ask) -> Answer:
        call = ask.exchange.call(ask.params[0])
        if call is None or not ask.exchange.cancel(call, ask.now):
            return self.refusal(404, "The call is not found or no longer active.")
        return json_answer(200, {"message": "Call is hanged successfully.", "data": []})

    def extensions(self, ask: Ask) -> Answer:
        return _answer({"current_page": 1, "data": [{"extension": "234"}]})

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """Only the documented ones; what ends a call, and how it ended, is told by the record."""
        moments = [("CALL_ROUTED", call.accepted_at), ("CALL_RINGING", call.rings_at)]
        if call.answered_at is not None:
            moments.append(("CALL_ANSWER", call.answered_at))
        return [Event(at, _event(name, call, at)) for name, at in moments]

    def _listed(self, ask: Ask) -> list[Call]:
        """Ended calls whose result shows, newest first, within the asked window and for the asked number."""
        request = ask.request
        since, until = _instant(request.word("from"), 0.0), _instant(request.word("to"), 1e12)
        wanted = request.word("query")
        directions = [value for key, value in request.query if key.startswith("call_direction")]
        if directions and "outbound" not in directions:
            return []
        status, number = request.word("call_status"), as_number(wanted)
        exchange = ask.exchange
        if number and wanted:
            calls = exchange.listed_to(self.name, ask.account, number, ask.now)
        else:
            calls = list(exchange.listed(self.name, ask.account, ask.now, since))
        return [
            call
            for call in calls
            if since <= call.accepted_at <= until
            and call.told(ask.now) is not None
            and (not status or (status == "answered") == (call.answered_at is not None))
            and request.word("extension") in ("", call.order.details["extension"])
        ]

    def _cdr(self, call: Call, options: SimulatorOptions) -> dict[str, Any]:
        row: dict[str, Any] = {
            "call_uuid": call.id,
            "caller_id_number": call.order.caller_id,
            "caller_id_name": "Outbound Call",
            "caller_destination": call.order.details["extension"],
            "destination_number": call.order.dialled,
            "direction": "outbound",
            "start_time": moment(call.accepted_at),
            "answer_time": moment(call.answered_at),
            "end_time": moment(call.ends_at),
            "duration": clock(call.ring + call.talk),
            "status": self.words[call.outcome][0],
            "hangup_cause": CAUSES[call.outcome],
        }
        if options.variant(self.name, "old_names"):
            return {OLD_NAMES.get(name, name): value for name, value in row.items()}
        return row

    def _stranger(self, now: float) -> dict[str, Any]:
        instants = {"start_time": moment(now - 60), "answer_time": moment(now - 50), "end_time": moment(now - 20)}
        said = {"status": "ANSWERED", "hangup_cause": CAUSES[Disposition.ANSWERED], "direction": "outbound"}
        return {"call_uuid": FOREIGN_ID, "destination_number": "10000000000"} | instants | said


def _answer(data: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return json_answer(200, {"message": "Success.", "data": data}, headers)


def _served(options: SimulatorOptions, nested: str | None) -> bool:
    """Both documented paths, unless a variant leaves only one."""
    return not options.variant("nexbro", "flat_path" if nested else "nested_path")


def _legs(call: Call) -> list[dict[str, Any]]:
    """The extension's leg, which always answers here, and the contact's; none where nobody can tell how it ended."""
    if call.outcome is Disposition.UNKNOWN:
        return []
    extension = {
        "destination_number": call.order.details["extension"],
        "forwarding_enabled": False,
        "start_time": moment(call.accepted_at),
        "answer_time": moment(call.accepted_at),
        "end_time": moment(call.ends_at),
    }
    contact = {
        "destination_number": call.order.dialled,
        "forwarding_enabled": False,
        "start_time": moment(call.rings_at),
        "answer_time": moment(call.answered_at),
        "last_hold_time": None,
        "end_time": moment(call.ends_at),
        "duration": clock(call.ring + call.talk),
        "answer_duration": clock(call.talk),
        "time_to_answer": clock(call.ring) if call.answered_at is not None else None,
    }
    return [extension, contact]


def _event(name: str, call: Call, at: float) -> dict[str, Any]:
    return {
        "event": name,
        "call_uuid": call.id,
        "call_session_uuid": call.id,
        "caller_id_number": call.order.caller_id,
        "destination_number": call.order.dialled,
        "timestamp": moment(at),
    }


def _instant(written: str, default: float) -> float:
    try:
        return datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return default
