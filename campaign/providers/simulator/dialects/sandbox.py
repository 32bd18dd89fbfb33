"""The sandbox's own dialect: everything a runner could wish for in one small contract. ``docs/sandbox.md`` has it."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, ClassVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, CallState, Order
from campaign.providers.simulator.dialects.dialect import FOREIGN_ID, Ask, Event, Words, as_number, route, text
from campaign.providers.simulator.faults import Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.wire import Answer, Request, json_answer

RESULTS_LIMIT = 200


class Sandbox:
    name: ClassVar[str] = "sandbox"
    prefixes: ClassVar[tuple[str, ...]] = ("sandbox",)
    guards: ClassVar[bool] = True
    queues: ClassVar[bool] = True
    words: ClassVar[Words] = {outcome: (outcome.value, outcome) for outcome in Disposition}

    def __init__(self) -> None:
        self.routes = (
            route("POST", "/sandbox/calls", Place.ORIGINATE),
            route("POST", "/sandbox/results", Place.RESULTS, self.results),
            route("GET", "/sandbox/calls", Place.LIST, self.calls),
            route("GET", "/sandbox/calls/([^/]+)", Place.RESULTS, self.one),
            route("DELETE", "/sandbox/calls/([^/]+)", Place.CANCEL, self.hang_up),
            route("GET", "/sandbox/account", Place.CHECK, self.account),
        )

    def authorised(self, request: Request, key: str | None) -> bool:
        return key is None or request.bearer() == key

    def order(self, ask: Ask) -> Order | Answer:
        body = ask.request.fields
        dialled, variables = text(body.get("to")), body.get("variables") or {}
        number = as_number(dialled)
        if not number:
            return self.refusal(400, "to: a phone number is required")
        if not isinstance(variables, dict):
            return self.refusal(400, "variables: an object of texts is required")
        ref = text(body.get("ref")) or None
        return Order(self.name, ask.account, number, dialled, ref, text(body.get("from")), variables)

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer:
        return json_answer(202, ({"id": call.id} if with_id else {}) | {"ref": call.order.ref, "state": "queued"})

    def conflict(self, order: Order, call: Call | None) -> Answer:
        """Names the call that holds the number where it is this account's own."""
        held_by = {"existing_ref": call and call.order.ref, "existing_id": call and call.id}
        return json_answer(409, {"error": "the number is in a call"} | held_by)

    def invalid_number(self, order: Order) -> Answer:
        return json_answer(422, {"error": "invalid_number"})

    def refusal(self, status: int, message: str) -> Answer:
        return json_answer(status, {"error": message})

    def results(self, ask: Ask) -> Answer:
        ids = ask.request.fields.get("ids")
        if not isinstance(ids, list) or len(ids) > RESULTS_LIMIT:
            return self.refusal(400, f"ids: a list of at most {RESULTS_LIMIT} ids is required")
        calls = [(str(call_id), ask.exchange.call(str(call_id))) for call_id in ask.kept(ids)]
        found = [shown(call, ask.now) for _, call in calls if call is not None]
        return json_answer(
            200, {"calls": found + _foreign(ask), "unknown": [call_id for call_id, call in calls if call is None]}
        )

    def calls(self, ask: Ask) -> Answer:
        """Newest first. ``to`` and ``ref`` may be repeated; ``since`` is epoch seconds; ``after`` a page's ``next``."""
        since = _seconds(ask.request.word("since", "0"))
        if since is None:
            return self.refusal(400, "since: epoch seconds are required")
        after = ask.request.word("after")
        matching = (call for call in _matching(ask, since) if call.accepted_at >= since)
        if after:
            for call in matching:
                if call.id == after:
                    break
        page = list(islice(matching, ask.options.page_size + 1))
        more, page = len(page) > ask.options.page_size, page[: ask.options.page_size]
        shown_page = [shown(call, ask.now) for call in ask.kept(page)] + _foreign(ask)
        return json_answer(200, {"calls": shown_page, "next": page[-1].id if more else None})

    def one(self, ask: Ask) -> Answer:
        call = ask.exchange.call(ask.params[0])
        return self.refusal(404, "no such call") if call is None else json_answer(200, shown(call, ask.now))

    def hang_up(self, ask: Ask) -> Answer:
        call = ask.exchange.call(ask.params[0])
        if call is None:
            return self.refusal(404, "no such call")
        if not ask.exchange.cancel(call, ask.now):
            return self.refusal(409, "the call has ended")
        return json_answer(200, shown(call, ask.now))

    def account(self, ask: Ask) -> Answer:
        limits = {"calls_per_second": ask.options.calls_per_second, "max_live": ask.options.max_live}
        return json_answer(200, {"account": ask.account} | limits)

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """``call.ringing``, ``call.answered`` and ``call.ended``, each with the call as it is then."""
        rang = [("call.ringing", call.rings_at)] if call.has_rung(call.ends_at) else []
        answered = [("call.answered", call.answered_at)] if call.answered_at is not None else []
        moments = [*rang, *answered, ("call.ended", call.told_at)]
        return [Event(at, {"event": name, "call": shown(call, at)}) for name, at in moments]


def shown(call: Call, now: float) -> dict[str, Any]:
    """One call as lists, results and events show it. Instants are epoch seconds, ``talk_seconds`` before the scale."""
    state = call.told_state(now)
    ended = state is CallState.ENDED
    answered = call.answered_at is not None and state in (CallState.TALKING, CallState.ENDED)
    return {
        "id": call.id,
        "ref": call.order.ref,
        "to": call.order.dialled,
        "state": state.value,
        "outcome": call.outcome.value if ended else None,
        "accepted_at": round(call.accepted_at, 3),
        "rang_at": round(call.rings_at, 3) if call.has_rung(now) else None,
        "answered_at": round(call.answered_at, 3) if answered and call.answered_at else None,
        "ended_at": round(call.ends_at, 3) if ended else None,
        "talk_seconds": round(call.talk) if ended else None,
    }


def _matching(ask: Ask, since: float) -> Iterable[Call]:
    numbers, refs = ask.request.words("to"), ask.request.words("ref")
    exchange, account = ask.exchange, ask.account
    if numbers:
        found = [
            call for number in numbers for call in exchange.listed_to("sandbox", account, as_number(number), ask.now)
        ]
        return sorted(set(found), key=lambda call: call.accepted_at, reverse=True)
    if refs:
        known = (exchange.by_ref("sandbox", ref) for ref in refs)
        return [call for call in known if call and call.listed_at <= ask.now and call.order.account == account]
    return exchange.listed("sandbox", account, ask.now, since)


def _foreign(ask: Ask) -> list[dict[str, Any]]:
    if not ask.foreign:
        return []
    stranger = {"id": FOREIGN_ID, "ref": "f" * 32, "to": "+10000000000", "state": "ended", "outcome": "answered"}
    instants = {
        "accepted_at": ask.now - 60,
        "rang_at": ask.now - 60,
        "answered_at": ask.now - 50,
        "ended_at": ask.now - 20,
        "talk_seconds": 30,
    }
    return [stranger | instants]


def _seconds(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
