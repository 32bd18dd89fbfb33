"""The control API under ``/control``: health, ledger, options, faults, outage. JSON in and out."""

import json
from collections.abc import Callable
from typing import Any, Protocol, get_args

from pydantic import TypeAdapter, ValidationError

from campaign.domain.durations import parse_duration
from campaign.domain.errors import UsageFault
from campaign.providers.simulator.desk import Desk
from campaign.providers.simulator.faults import FaultRule
from campaign.providers.simulator.ledger import Detail
from campaign.providers.simulator.options import SimulatorOptions, changed_options, sentence
from campaign.providers.simulator.wire import Answer, Request, json_answer

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_RULES = TypeAdapter(list[FaultRule])


class Controlled(Protocol):
    """What the control API acts on."""

    desk: Desk

    def reset(self) -> None: ...
    def configure(self, options: SimulatorOptions) -> None: ...
    def go_down(self, seconds: float) -> None: ...


class Control:
    """``answer`` takes a request under ``/control``. Off, with 403, where strangers could reach it without a token."""

    def __init__(self, server: Controlled) -> None:
        self._server = server
        self._routes: dict[tuple[str, str], Callable[[Request, float], Answer]] = {
            ("GET", "health"): self._health,
            ("GET", "ledger"): self._ledger,
            ("DELETE", "ledger"): self._reset,
            ("GET", "options"): self._options,
            ("POST", "configure"): self._configure,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._remove_faults,
            ("POST", "down"): self._down,
        }

    def answer(self, request: Request, now: float) -> Answer:
        """``now`` is the desk's time. Bad input is answered 400 with one sentence."""
        noun = request.path.removeprefix("/control/").partition("/")[0]
        handle = self._routes.get((request.method, noun))
        if handle is None:
            return json_answer(404, {"error": "the control API has no such method and path"})
        if noun != "health" and (refusal := self._stranger(request)):
            return refusal
        try:
            return handle(request, now)
        except UsageFault as fault:
            return json_answer(400, {"error": str(fault)})

    def _stranger(self, request: Request) -> Answer | None:
        options = self._server.desk.options
        if options.control_token is None:
            closed = "the control API is off: the sandbox listens beyond this machine and has no control_token"
            return None if options.host in LOOPBACK else json_answer(403, {"error": closed})
        if request.bearer() == options.control_token.get_secret_value():
            return None
        return json_answer(401, {"error": "the control API needs Authorization: Bearer with the control_token"})

    def _health(self, request: Request, now: float) -> Answer:
        self._server.desk.exchange.advance(now)
        return json_answer(200, {"ok": True, "live": self._server.desk.ledger.live})

    def _ledger(self, request: Request, now: float) -> Answer:
        details = frozenset(request.words("detail"))
        unknown = sorted(details - set(get_args(Detail)))
        if unknown:
            raise UsageFault(f"detail: {', '.join(unknown)} is not one of {', '.join(get_args(Detail))}")
        report = self._server.desk.report(now, details, request.word("number") or None)  # type: ignore[arg-type]
        return Answer(200, report.model_dump_json().encode())

    def _reset(self, request: Request, now: float) -> Answer:
        self._server.reset()
        return json_answer(200, {"reset": True})

    def _options(self, request: Request, now: float) -> Answer:
        return Answer(200, self._server.desk.options.model_dump_json().encode())

    def _configure(self, request: Request, now: float) -> Answer:
        words = request.json
        if not isinstance(words, dict):
            raise UsageFault('send the options to change as a JSON object, like {"latency": "50ms"}')
        self._server.configure(changed_options(self._server.desk.options, words))
        return self._options(request, now)

    def _faults(self, request: Request, now: float) -> Answer:
        return json_answer(
            200,
            {
                "faults": [
                    json.loads(entry.rule.model_dump_json(exclude_defaults=True))
                    | {"id": entry.id, "struck": entry.struck, "awake": entry.awake(now)}
                    for entry in self._server.desk.faults.rules
                ]
            },
        )

    def _add_faults(self, request: Request, now: float) -> Answer:
        """One rule or a list, each as text or as an object."""
        given = request.json
        try:
            rules = _RULES.validate_python(given if isinstance(given, list) else [given])
        except ValidationError as error:
            raise UsageFault(f"no fault was added: {sentence(error)}") from None
        return json_answer(200, {"ids": [self._server.desk.faults.add(rule, now) for rule in rules]})

    def _remove_faults(self, request: Request, now: float) -> Answer:
        rule_id = request.path.removeprefix("/control/faults").strip("/")
        if not rule_id:
            self._server.desk.faults.clear()
        elif not self._server.desk.faults.remove(rule_id):
            return json_answer(404, {"error": f"there is no fault {rule_id}"})
        return json_answer(200, {"removed": True})

    def _down(self, request: Request, now: float) -> Answer:
        words: Any = request.json
        try:
            seconds = parse_duration(words["seconds"])
        except (TypeError, KeyError, ValueError):
            raise UsageFault('say how long, like {"seconds": "5s"}') from None
        self._server.go_down(seconds)
        return json_answer(200, {"down_for": seconds})
