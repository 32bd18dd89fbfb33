"""Takes a request to its dialect, past limits and faults, to the exchange and back. Pure: the clocks come in."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, Order, Whims
from campaign.providers.simulator.dialects import DIALECT_CLASSES
from campaign.providers.simulator.dialects.dialect import Ask, Dialect, Route
from campaign.providers.simulator.exchange import Exchange
from campaign.providers.simulator.faults import READS, Facts, FaultBook, FaultRule, Place
from campaign.providers.simulator.ledger import CallRecord, Detail, Ledger, LedgerReport
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.outcomes import uniforms
from campaign.providers.simulator.spoiling import refused, spoiled, too_many
from campaign.providers.simulator.wire import Answer, Request, json_answer

LINE_PREFIX = "/line/"
"""A base URL may end in ``/line/NAME``: the calls of that line are then an account of their own."""


@dataclass(frozen=True, slots=True)
class Instant:
    """``now`` is when a request is answered, in epoch seconds that never step; the others are when it came, on this
    machine's monotonic and its wall clock."""

    now: float
    monotonic: float
    wall: float


def _nobody(dialect: Dialect, call: Call, now: float) -> None:
    """No webhooks."""


class Desk:
    """The whole simulator but for sockets and time. ``on_change`` hears of each call placed or canceled."""

    def __init__(
        self,
        options: SimulatorOptions,
        new_id: Callable[[int], str],
        on_change: Callable[[Dialect, Call, float], None] = _nobody,
    ) -> None:
        self.options = options
        self._new_id = new_id
        self._on_change = on_change
        self.dialects: dict[str, Dialect] = {kind.name: kind() for kind in DIALECT_CLASSES}
        self._by_prefix: dict[str, list[Dialect]] = {}
        for dialect in self.dialects.values():
            for prefix in dialect.prefixes:
                self._by_prefix.setdefault(prefix, []).append(dialect)
        self._serial = 0
        self._passed: dict[str, deque[float]] = {}
        self.faults = FaultBook(options.seed)
        self.reset()

    def reset(self) -> None:
        """An empty ledger and no calls, as if nobody had called yet. Options and faults stay."""
        self.ledger = Ledger(self.options.keep_arrivals)
        self.exchange = Exchange(self.options, self.ledger, self._new_id)
        self._passed.clear()

    def configure(self, options: SimulatorOptions) -> None:
        self.options = options
        self.exchange.configure(options)

    def answer(self, request: Request, at: Instant) -> Answer:
        """Never raises for anything that a client may send."""
        self._serial += 1
        account, path = _account(request.path)
        found = self._route(request.method, path)
        if found is None:
            return json_answer(404, {"error": "no dialect of the sandbox has this method and path"})
        dialect, route, params = found
        ask = Ask(request, params, account or dialect.name, self.exchange, at.now, self._serial)
        if route.place is Place.ORIGINATE:
            answer = self._originate(dialect, ask, at)
        else:
            answer = self._read(dialect, route, ask)
        if self.options.latency or self.options.latency_jitter:
            answer = replace(answer, delay=answer.delay + self._latency())
        return answer

    def report(self, now: float, details: frozenset[Detail] = frozenset(), number: str | None = None) -> LedgerReport:
        """The ledger as of ``now``; with detail ``calls``, every call that is kept, or those to ``number``."""
        self.exchange.advance(now)
        calls = self.exchange.all_calls() if "calls" in details else ()
        records = [self._record(call, now) for call in calls if number in (None, call.order.number)]
        return self.ledger.report(details, records, self.exchange.kept)

    def _route(self, method: str, path: str) -> tuple[Dialect, Route, tuple[str, ...]] | None:
        for dialect in self._by_prefix.get(path[1:].partition("/")[0], ()):
            for route in dialect.routes:
                if route.method == method and (match := route.pattern.fullmatch(path)):
                    return dialect, route, match.groups()
        return None

    def _originate(self, dialect: Dialect, ask: Ask, at: Instant) -> Answer:
        order = dialect.order(ask)
        number = order.number if isinstance(order, Order) else ""
        nth = self.ledger.arrived(ask.account, number, at.monotonic, at.wall)
        if not dialect.authorised(ask.request, self.options.key(dialect.name)):
            order = dialect.refusal(401, "unauthorized")
        if isinstance(order, Answer):
            self.ledger.was_refused(str(order.status))
            return order
        facts = Facts(Place.ORIGINATE, dialect.name, ask.account, number, nth, ask.serial)
        rule = self.faults.strike(facts, ask.now) if self.faults.rules else None
        for why, objection in self._objections(dialect, order, rule, ask.now):
            if objection is not None:
                self.ledger.was_refused(why)
                return objection
        return self._placed(dialect, order, rule, facts, ask.now)

    def _objections(
        self, dialect: Dialect, order: Order, rule: FaultRule | None, now: float
    ) -> Iterator[tuple[str, Answer | None]]:
        """Every reason not to place the call, in the order in which they are looked at."""
        if rule is not None and not rule.places_first:
            if rule.kind == "conflict":
                yield "conflict", dialect.conflict(order, None) or dialect.refusal(409, "the number is in use")
            elif rule.kind == "invalid_number":
                yield "invalid_number", dialect.invalid_number(order)
            else:
                yield rule.kind, refused(rule, dialect.refusal, now)
        self.exchange.advance(now)
        if self._beyond_limits(order.account, now):
            yield "429", too_many(dialect.refusal, 1)
        if self.options.idempotent and dialect.name == "sandbox" and order.ref:
            first = self.exchange.by_ref(dialect.name, order.ref)
            if first is not None:
                yield "repeated", replace(dialect.accepted(first, self.options, with_id=True), status=200)
        if dialect.guards:
            live = self.exchange.live_call(dialect.name, order.account, order.number)
            if live is not None:
                yield "conflict", dialect.conflict(order, live)

    def _placed(self, dialect: Dialect, order: Order, rule: FaultRule | None, facts: Facts, now: float) -> Answer:
        whims = self._whims(dialect, rule, facts, now) if self.faults.rules else Whims()
        call = self.exchange.place(order, now, whims)
        self._on_change(dialect, call, now)
        answer = dialect.accepted(call, self.options, with_id=True)
        if rule is None or not rule.places_first:
            return answer
        if rule.status is not None:
            return refused(rule, dialect.refusal, now)
        return spoiled(answer, rule, dialect.accepted(call, self.options, with_id=False))

    def _whims(self, dialect: Dialect, rule: FaultRule | None, facts: Facts, now: float) -> Whims:
        whims = self.faults.whims(facts, now)
        if not dialect.queues:
            whims = replace(whims, queued=0.0)
        if rule is not None and rule.kind == "invalid_number":  # a provider that only finds out by calling
            return replace(whims, outcome=Disposition.INVALID_NUMBER)
        return replace(whims, late=rule.late) if rule is not None and rule.late else whims

    def _read(self, dialect: Dialect, route: Route, ask: Ask) -> Answer:
        self.ledger.reads[f"{ask.account} {route.place}"] += 1
        if not dialect.authorised(ask.request, self.options.key(dialect.name)):
            return dialect.refusal(401, "unauthorized")
        facts = Facts(route.place, dialect.name, ask.account, serial=ask.serial)
        rule = self.faults.strike(facts, ask.now) if self.faults.rules else None
        if rule is not None and rule.kind not in READS and not rule.places_first:
            return refused(rule, dialect.refusal, ask.now)
        self.exchange.advance(ask.now)
        assert route.handle is not None
        answer = route.handle(replace(ask, fault=rule))
        for call in self.exchange.take_canceled():
            self._on_change(dialect, call, ask.now)
        if rule is None or rule.kind in READS:
            return answer
        if rule.status is not None:
            return refused(rule, dialect.refusal, ask.now)
        return spoiled(answer, rule, replace(answer, body=b"{}"))

    def _beyond_limits(self, account: str, now: float) -> bool:
        most, limit = self.options.max_live, self.options.calls_per_second
        if most is not None and self.ledger.live_of(account) >= most:
            return True
        return limit is not None and self._beyond_rate(account, now, limit)

    def _beyond_rate(self, account: str, now: float, limit: float) -> bool:
        """True where the sliding second is full of requests that passed; refused ones do not count."""
        passed = self._passed.setdefault(account, deque())
        span = max(1.0, 1.0 / limit)
        while passed and now - passed[0] >= span:
            passed.popleft()
        if len(passed) >= max(int(limit), 1):
            return True
        passed.append(now)
        return False

    def _latency(self) -> float:
        share = uniforms(self.options.seed, "latency", self._serial)[0] if self.options.latency_jitter else 0.0
        return self.options.latency + self.options.latency_jitter * share

    def _record(self, call: Call, now: float) -> CallRecord:
        order = call.order
        return CallRecord(
            id=call.id,
            dialect=order.dialect,
            account=order.account,
            number=order.number,
            ref=order.ref,
            nth=call.nth,
            outcome=call.outcome,
            reads_as=self.dialects[order.dialect].words[call.outcome][1],
            accepted_at=call.accepted_at,
            rings_at=call.rings_at,
            answered_at=call.answered_at,
            ends_at=call.ends_at,
            talk_seconds=call.talk,
            ended=call.over,
            result_withheld=call.told(now) is None,
        )


def _account(path: str) -> tuple[str, str]:
    """The account that a path names, "" for none, and the path as the provider would see it."""
    if not path.startswith(LINE_PREFIX):
        return "", path
    name, slash, rest = path[len(LINE_PREFIX) :].partition("/")
    return name, slash + rest
