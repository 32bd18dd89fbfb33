"""MobTexting: form or JSON in, two generations of bodies out, status by id, number or date (PROVIDERS §4)."""

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
    clock,
    moment,
    route,
    text,
)
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

BASE = "(?:/api)?(?:/v[23])?"
INTERVALS = ("0", "5", "15", "30", "45", "60")
NAMES = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 429: "Too Many Requests"}


class MobTexting:
    name: ClassVar[str] = "mobtexting"
    prefixes: ClassVar[tuple[str, ...]] = ("api", "v2", "v3", "outgoing", "auth", "finance")
    guards: ClassVar[bool] = False
    queues: ClassVar[bool] = True
    words: ClassVar[Words] = {
        Disposition.ANSWERED: ("ANSWER", Disposition.ANSWERED),
        Disposition.VOICEMAIL: ("ANSWER", Disposition.ANSWERED),
        Disposition.BUSY: ("BUSY", Disposition.BUSY),
        Disposition.NO_ANSWER: ("NOANSWER", Disposition.NO_ANSWER),
        Disposition.REJECTED: ("BUSY", Disposition.BUSY),
        Disposition.INVALID_NUMBER: ("CONGESTION", Disposition.UNAVAILABLE),
        Disposition.UNAVAILABLE: ("CHANUNAVAIL", Disposition.UNAVAILABLE),
        Disposition.CANCELED: ("CANCEL", Disposition.CANCELED),
        Disposition.ERROR: ("CHANUNAVAIL", Disposition.UNAVAILABLE),
        Disposition.UNKNOWN: ("", Disposition.UNKNOWN),
    }

    def __init__(self) -> None:
        self.routes = (
            route("POST", f"{BASE}/outgoing/send", Place.ORIGINATE),
            route("GET", f"{BASE}/outgoing/callstatus", Place.RESULTS, self.status),
            route("GET", f"{BASE}/auth/me", Place.CHECK, self.me),
            route("GET", f"{BASE}/finance/balance", Place.CHECK, self.balance),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        token = request.bearer() or request.word("access_token") or text(request.fields.get("access_token"))
        return bool(token) and key in (None, token)

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        dialled, bridge = text(body.get("to")), text(body.get("bridge"))
        if not as_number(dialled):
            return self.refusal(422, "The to field is required.")
        if not bridge:
            return self.refusal(422, "The bridge field is required.")
        playing = next((name for name in ("flow_id", "ivr_id", "audio") if text(body.get(name))), None)
        if playing is None:
            return self.refusal(422, "The flow id field is required when audio is not present.")
        if text(body.get("interval")) not in ("", *INTERVALS):
            return self.refusal(422, "The selected interval is invalid.")
        details = {"flow": text(body[playing]), "webhook": text(body.get("webhook_id"))}
        return Order(self.name, ask.account, as_number(dialled), dialled, None, bridge, _variables(body), details)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        item = self._queued(call, options)
        if not with_id:
            del item["id"]
        if options.variant(self.name, "old_bodies"):
            return json_answer(200, {"status": 200, "message": "1 numbers accepted for delivery.", "data": [item]})
        return json_answer(200, {"status": "OK", "message": "Calls queued successfully", "data": [item]})

    def conflict(self, order: Order, call: Call | None) -> None:
        return None

    def invalid_number(self, order: Order) -> Answer:
        return self.refusal(422, "The to field must be a valid mobile number.")

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"status": NAMES.get(status, "ERROR"), "code": status, "message": message})

    def status(self, ask: Ask) -> Answer:
        calls = ask.kept(self._asked(ask))
        items = [self._item(call, ask) for call in calls]
        if ask.foreign:
            items.append({"id": FOREIGN_ID, "mobile": "10000000000", "to": "10000000000", "status": "ANSWER"})
        return json_answer(200, {"status": 200, "message": "OK", "data": items})

    def me(self, ask: Ask) -> Answer:
        return json_answer(200, {"status": 200, "message": "OK", "data": {"name": ask.account}})

    def balance(self, ask: Ask) -> Answer:
        return json_answer(200, {"status": 200, "message": "OK", "data": {"balance": "1000.00"}})

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """The default payload: it has no ``id``, and ``mid`` is not documented to be one; here it is."""
        payload = {
            "bridge": call.order.caller_id,
            "from": call.order.caller_id,
            "to": call.order.dialled,
            "source": "OBD",
            "mid": call.id,
            "flow_id": call.order.details["flow"],
            "start_at": moment(call.rings_at),
            "end_at": moment(call.ends_at),
            "duration": str(round(call.talk)),
            "status": self.words[call.outcome][0],
            "recording_url": "",
        }
        return [Event(call.told_at, payload)]

    def _asked(self, ask: Ask) -> list[Call]:
        """By id, else by number, else by date; an unknown id is an empty list."""
        request = ask.request
        if wanted := request.word("id"):
            call = ask.exchange.call(wanted.partition(":")[0])
            known = call is not None and call.order.dialect == self.name and call.listed_at <= ask.now
            return [call] if call is not None and known else []
        if mobile := as_number(request.word("mobile")):
            return ask.exchange.listed_to(self.name, ask.account, mobile, ask.now)
        day = _day(request.word("date"))
        if day is None:
            return []
        calls = ask.exchange.listed(self.name, ask.account, ask.now, day)
        return [call for call in calls if call.accepted_at < day + 86_400]

    def _queued(self, call: Call, options: SimulatorOptions) -> dict[str, Any]:
        order = call.order
        if options.variant(self.name, "old_bodies"):
            ids = {"id": f"{call.id}:1", "mobile": order.dialled, "charges": 1, "customid": "", "customid1": ""}
            return ids | {"iso_code": "", "submitted_at": moment(call.accepted_at)}
        return {
            "id": call.id,
            "channel": "outgoing",
            "caller_id": order.caller_id,
            "mobile": order.dialled,
            "flow_id": order.details["flow"],
            "credits": 1,
            "created_at": moment(call.accepted_at),
            "foreign_id": None,
            "options": None,
            "status": "queued",
        }

    def _item(self, call: Call, ask: Ask) -> dict[str, Any]:
        ended = call.told_state(ask.now) is CallState.ENDED
        order = call.order
        times = {
            "status": self.words[call.outcome][0] if ended else "queued",
            "start_at": moment(call.rings_at) if ask.now >= call.rings_at else None,
            "end_at": moment(call.ends_at) if ended else None,
            "dtmf": "",
        }
        if ask.options.variant(self.name, "old_bodies"):
            ids = {"id": f"{call.id}:1", "mobile": order.dialled, "caller_id": order.caller_id}
            return ids | {"duration": clock(call.talk) if ended else "", "charges": 1, "provider": ""} | times
        ids = {"id": call.id, "channel": "outgoing", "from": order.caller_id, "to": order.dialled}
        return ids | {"created_at": moment(call.accepted_at), "foreign_id": None} | times


def _variables(body: dict[str, object]) -> dict[str, str]:
    """``variables[Name]=value`` of a form, the same keys or an object of JSON."""
    nested = body.get("variables")
    flat = {key[10:-1]: text(value) for key, value in body.items() if key.startswith("variables[") and key[-1] == "]"}
    return flat | ({key: text(value) for key, value in nested.items()} if isinstance(nested, dict) else {})


def _day(written: str) -> float | None:
    try:
        return datetime.strptime(written, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
