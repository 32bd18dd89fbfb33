"""Knovvu outbound call trigger: the key travels in the body, results come in batches (PROVIDERS §3).

No error body is documented; the one used here is a guess. The sibling `call-request` API is not spoken: what it
answers is not public.
"""

from typing import Any, ClassVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, CallState, Order
from campaign.providers.simulator.dialects.dialect import FOREIGN_ID, Ask, Event, Words, as_number, route, text
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

REQUIRED = ("Project", "Tenant", "ConversationId", "AccessToken", "ScenarioPath", "OrchestratorUrl")


class Knovvu:
    name: ClassVar[str] = "knovvu"
    prefixes: ClassVar[tuple[str, ...]] = ("v2",)
    guards: ClassVar[bool] = False
    queues: ClassVar[bool] = True
    words: ClassVar[Words] = {
        Disposition.ANSWERED: ("Answered", Disposition.ANSWERED),
        Disposition.VOICEMAIL: ("Answered", Disposition.ANSWERED),
        Disposition.BUSY: ("Busy", Disposition.BUSY),
        Disposition.NO_ANSWER: ("No Answer", Disposition.NO_ANSWER),
        Disposition.REJECTED: ("Rejected", Disposition.REJECTED),
        Disposition.INVALID_NUMBER: ("Invalid Number", Disposition.INVALID_NUMBER),
        Disposition.UNAVAILABLE: ("Temporarily Unavailable", Disposition.UNAVAILABLE),
        Disposition.CANCELED: ("Error", Disposition.ERROR),
        Disposition.ERROR: ("Error", Disposition.ERROR),
        Disposition.UNKNOWN: ("", Disposition.UNKNOWN),
    }

    def __init__(self) -> None:
        self.routes = (
            route("POST", "/v2/call", Place.ORIGINATE),
            route("POST", "/v2/callresult", Place.RESULTS, self.results),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        """``/v2/callresult`` is documented without any credential."""
        if request.path.endswith("/callresult"):
            return True
        token = request.fields.get("AccessToken")
        return bool(token) and key in (None, token)

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        missing = [name for name in REQUIRED if name != "AccessToken" and not text(body.get(name))]
        parameters = _parameters(body.get("ScenarioInputParameters"))
        dialled = parameters.get("_Destination", "")
        missing += [name for name in ("_DisplayNumber", "_Destination") if not parameters.get(name)]
        if missing or not as_number(dialled):
            return self.refusal(400, f"missing: {', '.join(missing) or '_Destination'}")
        variables = {name: value for name, value in parameters.items() if not name.startswith("_")}
        ref, caller = text(body["ConversationId"]), parameters["_DisplayNumber"]
        return Order(self.name, ask.account, as_number(dialled), dialled, ref, caller, variables)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        return json_answer(200, {"UniqueId": call.id} if with_id else {})

    def conflict(self, order: Order, call: Call | None) -> None:
        return None

    def invalid_number(self, order: Order) -> None:
        return None

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"Message": message})

    def results(self, ask: Ask) -> Answer:
        """Unknown ids are left out; what goes on has an empty state, or is left out as well."""
        ids = ask.request.fields.get("UniqueIds")
        if not isinstance(ids, list):
            return self.refusal(400, "UniqueIds is required")
        rows: list[dict[str, Any]] = []
        for call in map(ask.exchange.call, map(str, ask.kept(ids))):
            if call is None or call.order.dialect != self.name:
                continue
            state = self._state(call, ask)
            if state or not ask.options.variant(self.name, "no_pending"):
                rows.append({"UniqueId": call.id, "CallRequestId": "", "CallState": state})
        if ask.foreign:
            rows.append({"UniqueId": FOREIGN_ID, "CallRequestId": "", "CallState": "Answered"})
        return json_answer(200, {"CallResults": rows})

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """What is posted to ResultDestination is not documented: nothing is."""
        return []

    def _state(self, call: Call, ask: Ask) -> str:
        if call.told_state(ask.now) is not CallState.ENDED:
            return ""
        word = self.words[call.outcome][0]
        if ask.options.variant(self.name, "joined"):
            return word.replace(" ", "")
        return word.replace(" ", "_").upper() if ask.options.variant(self.name, "upper") else word


def _parameters(value: object) -> dict[str, str]:
    pairs = value if isinstance(value, list) else []
    return {text(pair.get("Name")): text(pair.get("Value")) for pair in pairs if isinstance(pair, dict)}
