"""What a dialect is: a translation between one provider's wire and the exchange. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Protocol, TypeVar

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call, Order
from campaign.providers.simulator.exchange import Exchange
from campaign.providers.simulator.faults import FaultRule, Place
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.outcomes import uniforms
from campaign.providers.simulator.wire import Answer, Request

T = TypeVar("T")
NOT_DIGITS = re.compile(r"\D+", re.ASCII)
FOREIGN_ID = "00000000-feed-4bad-8bad-00000000f00d"
"""The id of a call that nobody here placed, as the fault `foreign` slips it into lists and results."""

Words = Mapping[Disposition, tuple[str, Disposition]]
"""For each outcome: the word that the dialect says, and our disposition for that word."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request with everything needed to answer it. ``params`` are the parts of the path, ``serial`` its count."""

    request: Request
    params: tuple[str, ...]
    account: str
    exchange: Exchange
    now: float
    serial: int
    fault: FaultRule | None = None

    @property
    def options(self) -> SimulatorOptions:
        return self.exchange.options

    @property
    def foreign(self) -> bool:
        """True where the answer shall also hold a call with FOREIGN_ID."""
        return self.fault is not None and self.fault.kind == "foreign"

    def kept(self, items: Sequence[T]) -> list[T]:
        """The items of a list page without those that the fault `page_loss` drops."""
        if self.fault is None or self.fault.kind != "page_loss":
            return list(items)
        seed, lost = self.options.seed, self.fault.fraction
        return [item for at, item in enumerate(items) if uniforms(seed, "page", self.serial, at)[0] >= lost]


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path. ``handle`` is None for originate, which the desk does itself."""

    method: str
    pattern: re.Pattern[str]
    place: Place
    handle: Callable[[Ask], Answer] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook: ``payload`` is posted as JSON at ``at``, and not at all where that is infinite."""

    at: float
    payload: object = field(repr=False)


class Dialect(Protocol):
    """One provider's wire. Made once per simulator; reads ``options`` through the exchange at each request."""

    name: ClassVar[str]
    prefixes: ClassVar[tuple[str, ...]]  # first parts of its paths
    words: ClassVar[Words]
    guards: ClassVar[bool]  # True where one number can be in one call at a time
    queues: ClassVar[bool]  # True where a call may wait before it rings

    @property
    def routes(self) -> Sequence[Route]: ...

    def authorised(self, request: Request, key: str | None) -> bool:
        """``key`` is the only one accepted; None accepts whatever has the right form."""
        ...

    def order(self, ask: Ask) -> Order | Answer:
        """The originate request as an order, or the answer that says what is wrong with it."""
        ...

    def accepted(self, call: Call, options: SimulatorOptions, *, with_id: bool) -> Answer: ...

    def conflict(self, order: Order, call: Call | None) -> Answer | None:
        """The answer where the number is in ``call`` (None: somebody else's), or None where none is documented."""
        ...

    def invalid_number(self, order: Order) -> Answer | None:
        """The refusal of a number that does not exist, None where the provider only finds out by calling."""
        ...

    def refusal(self, status: int, message: str) -> Answer:
        """An error in the provider's shape."""
        ...

    def events(self, call: Call, options: SimulatorOptions) -> list[Event]:
        """The webhooks about one call, in order."""
        ...


def route(method: str, pattern: str, place: Place, handle: Callable[[Ask], Answer] | None = None) -> Route:
    return Route(method, re.compile(pattern), place, handle)


def as_number(dialled: object) -> str:
    """The ledger's form of a number: ``+`` and digits, "" where there are none."""
    digits = NOT_DIGITS.sub("", str(dialled)) if isinstance(dialled, (str, int)) else ""
    return "+" + digits if digits else ""


def text(value: object) -> str:
    """A field's text; "" for what is missing or no scalar."""
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def whole(written: str, default: int) -> int:
    """A query parameter that is a count."""
    return int(written) if written.isdecimal() and len(written) < 10 else default


def moment(instant: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str | None:
    """An instant in UTC, to the second, as most providers write it."""
    return None if instant is None else datetime.fromtimestamp(instant, UTC).strftime(form)


def rfc3339(instant: float) -> str:
    """With milliseconds and Z."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(seconds: float) -> str:
    """``00:01:05``."""
    whole = round(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def as_uuid(digits: str) -> str:
    """32 hex digits in the form of a UUID."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
