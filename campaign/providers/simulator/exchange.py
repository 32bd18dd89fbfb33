"""The telephone exchange behind all dialects: it places calls, ends them, finds them again. Pure; ``now`` comes in."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import NO_WHIMS, Call, CallState, Order, Whims
from campaign.providers.simulator.ledger import Ledger
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.outcomes import Dice

NEVER = float("inf")


class Exchange:
    """``new_id`` makes the provider's id of the nth call. ``ledger`` is written as things happen."""

    def __init__(self, options: SimulatorOptions, ledger: Ledger, new_id: Callable[[int], str]) -> None:
        self.ledger = ledger
        self._new_id = new_id
        self._serials = count(1)
        self._calls: dict[str, Call] = {}
        self._by_ref: dict[tuple[str, str], Call] = {}
        self._by_number: dict[str, list[Call]] = {}
        self._live: dict[str, list[Call]] = {}
        self._ends: list[tuple[float, int, Call]] = []
        self._canceled: list[Call] = []
        self.configure(options)

    def configure(self, options: SimulatorOptions) -> None:
        """From the next call on."""
        self.options = options
        self._dice = Dice(options.seed, options.mix, options.script)

    def place(self, order: Order, now: float, whims: Whims = NO_WHIMS) -> Call:
        """The call that ``order`` makes. Whether it may be placed has been asked before."""
        self.advance(now)
        nth = self.ledger.nth_call(order.number)
        call = self._planned(order, nth, now, whims)
        live = self._live.setdefault(order.number, [])
        repeated = order.ref is not None and (order.dialect, order.ref) in self._by_ref
        self.ledger.was_placed(order.account, order.number, repeated_ref=repeated, double_ring=bool(live))
        live.append(call)
        self._remember(call)
        return call

    def advance(self, now: float) -> list[Call]:
        """Ends what has ended by ``now``; the calls that did."""
        ended = []
        while self._ends and self._ends[0][0] <= now:
            call = heappop(self._ends)[2]
            if not call.over:
                self._close(call)
                ended.append(call)
        return ended

    def cancel(self, call: Call, now: float) -> bool:
        """Hangs up; False where the call had ended."""
        if call.over or call.state(now) is CallState.ENDED:
            return False
        call.cut(now, Disposition.CANCELED, self.options.result_lag)
        self._close(call)
        self._canceled.append(call)
        return True

    def take_canceled(self) -> list[Call]:
        """The calls canceled since this was asked last."""
        taken, self._canceled = self._canceled, []
        return taken

    def next_end(self) -> float | None:
        """When the next call ends, if one is live."""
        return self._ends[0][0] if self._ends else None

    def call(self, call_id: str) -> Call | None:
        return self._calls.get(call_id)

    def by_ref(self, dialect: str, ref: str) -> Call | None:
        """The last call placed for the client's own id."""
        return self._by_ref.get((dialect, ref))

    def live_call(self, dialect: str, account: str, number: str) -> Call | None:
        """A call of this account to ``number`` that has not ended."""
        for call in self._live.get(number, ()):
            if call.order.dialect == dialect and call.order.account == account:
                return call
        return None

    def listed(self, dialect: str, account: str, now: float, since: float = 0.0) -> Iterator[Call]:
        """The account's calls accepted from ``since`` on that its lists show by ``now``, newest first."""
        for call in reversed(self._calls.values()):
            if call.accepted_at < since:
                return
            if call.listed_at <= now and call.order.dialect == dialect and call.order.account == account:
                yield call

    def listed_to(self, dialect: str, account: str, number: str, now: float) -> list[Call]:
        """The same for one number, found without reading the others."""
        return [
            call
            for call in reversed(self._by_number.get(number, ()))
            if call.listed_at <= now and call.order.dialect == dialect and call.order.account == account
        ]

    @property
    def kept(self) -> int:
        """How many calls are still known, ended ones included."""
        return len(self._calls)

    def all_calls(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def _planned(self, order: Order, nth: int, now: float, whims: Whims) -> Call:
        dice, options = self._dice, self.options
        forced = whims.outcome
        fate = dice.fate(order.number, nth) if forced is None else dice.as_ordered(order.number, nth, forced)
        shows_at = now + whims.late
        rings_at = shows_at + whims.queued
        picked_up = rings_at + fate.ring / options.time_scale
        ends_at = picked_up + fate.talk / options.time_scale
        return Call(
            id=self._new_id(next(self._serials)),
            order=order,
            nth=nth,
            outcome=fate.outcome,
            ring=fate.ring,
            talk=fate.talk,
            accepted_at=now,
            rings_at=rings_at,
            answered_at=picked_up if fate.answered else None,
            ends_at=ends_at,
            told_at=NEVER if whims.swallowed else ends_at + options.result_lag + whims.result_lag,
            listed_at=shows_at + options.list_lag + whims.list_lag,
            whims=whims,
        )

    def _remember(self, call: Call) -> None:
        order = call.order
        self._calls[call.id] = call
        self._by_number.setdefault(order.number, []).append(call)
        if order.ref is not None:
            self._by_ref[order.dialect, order.ref] = call
        heappush(self._ends, (call.ends_at, id(call), call))
        if len(self._calls) > self.options.keep_calls:
            self._forget(next(iter(self._calls.values())))

    def _close(self, call: Call) -> None:
        call.over = True
        live = self._live[call.order.number]
        live.remove(call)
        if not live:
            del self._live[call.order.number]
        self.ledger.has_ended(call)

    def _forget(self, call: Call) -> None:
        del self._calls[call.id]
        calls = self._by_number[call.order.number]
        calls.remove(call)
        if not calls:
            del self._by_number[call.order.number]
        if call.order.ref is not None:
            self._by_ref.pop((call.order.dialect, call.order.ref), None)
