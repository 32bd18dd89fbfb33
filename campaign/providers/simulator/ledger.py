"""The ground truth: every originate request with its instant, every call placed, every refusal. Pure.

Checkers compare it with what the runner believes. Arrivals are kept in arrays (11 bytes a request beside the two
instants), so millions fit; beyond ``keep_arrivals`` they are counted and no longer kept, and the report says so.
"""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from campaign.domain.dispositions import Disposition
from campaign.providers.simulator.calls import Call

PLACED = "placed"
Detail = Literal["summary", "numbers", "calls", "arrivals"]


def most_in_window(instants: Sequence[float], window: float = 1.0) -> int:
    """The most instants in any half-open window of ``window`` seconds. ``instants`` need not be sorted."""
    ordered = sorted(instants)
    most = first = 0
    for last, instant in enumerate(ordered):
        while instant - ordered[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


class Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AccountReport(Report):
    """One account: the dialect's name, or NAME of a base URL that ends in ``/line/NAME``."""

    requests: int
    placed: int
    live: int
    max_live: int
    max_per_second: int


class CallRecord(Report):
    """One call. ``reads_as`` is our disposition for the word that the dialect told. Instants are epoch seconds."""

    id: str
    dialect: str
    account: str
    number: str = Field(repr=False)
    ref: str | None
    nth: int
    outcome: Disposition
    reads_as: Disposition
    accepted_at: float
    rings_at: float
    answered_at: float | None
    ends_at: float
    talk_seconds: float
    ended: bool
    result_withheld: bool


class Arrivals(Report):
    """One entry per originate request, in the order in which they were answered. ``fate`` is ``placed`` or what was
    refused; ``monotonic`` and ``wall`` say when it came."""

    monotonic: list[float]
    wall: list[float]
    account: list[str]
    fate: list[str]


class LedgerReport(Report):
    """What happened since the start or the last reset.

    ``requests`` counts originate requests, refused ones included; ``refused`` tells them apart by status or fault.
    ``repeated_refs`` counts calls placed for a client id that had a call already: with one id per intent it must be 0.
    ``double_rings`` counts calls placed to a number that was in another call. ``numbers_called_again`` counts numbers
    with more than one call. ``max_per_second`` is the most requests in any sliding second.
    """

    requests: int
    placed: int
    refused: dict[str, int]
    numbers: int
    numbers_called_again: int
    most_calls_to_one_number: int
    repeated_refs: int
    double_rings: int
    live: int
    max_live: int
    max_per_second: int
    ended: dict[Disposition, int]
    reads: dict[str, int]
    webhooks: dict[str, int]
    accounts: dict[str, AccountReport]
    arrivals_not_kept: int = 0
    calls_not_kept: int = 0
    calls_per_number: dict[str, int] | None = Field(default=None, repr=False)
    requests_per_number: dict[str, int] | None = Field(default=None, repr=False)
    calls: list[CallRecord] | None = Field(default=None, repr=False)
    arrivals: Arrivals | None = Field(default=None, repr=False)


@dataclass(slots=True)
class _Account:
    name: str
    index: int
    requests: int = 0
    placed: int = 0
    live: int = 0
    max_live: int = 0


@dataclass(slots=True)
class Ledger:
    """Written by the exchange, read by :meth:`report`. ``keep_arrivals`` bounds the arrays."""

    keep_arrivals: int = 5_000_000
    requests: int = 0
    placed: int = 0
    live: int = 0
    max_live: int = 0
    repeated_refs: int = 0
    double_rings: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    ended: Counter[Disposition] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    requests_per_number: dict[str, int] = field(default_factory=dict)
    calls_per_number: dict[str, int] = field(default_factory=dict)
    _monotonic: "array[float]" = field(default_factory=lambda: array("d"))
    _wall: "array[float]" = field(default_factory=lambda: array("d"))
    _who: "array[int]" = field(default_factory=lambda: array("H"))
    _fates: "array[int]" = field(default_factory=lambda: array("B"))
    _accounts: dict[str, _Account] = field(default_factory=dict)
    _fate_names: dict[str, int] = field(default_factory=lambda: {PLACED: 0})

    def arrived(self, account: str, number: str, monotonic: float, wall: float) -> int:
        """Notes an originate request; the number of requests for ``number`` so far, this one included."""
        self.requests += 1
        entry = self._account(account)
        entry.requests += 1
        if len(self._monotonic) < self.keep_arrivals:
            self._monotonic.append(monotonic)
            self._wall.append(wall)
            self._who.append(entry.index)
            self._fates.append(0)
        nth = self.requests_per_number.get(number, 0) + 1
        self.requests_per_number[number] = nth
        return nth

    def was_refused(self, why: str) -> None:
        """The request that :meth:`arrived` last was not placed."""
        self.refused[why] += 1
        if self._fates and self.requests == len(self._fates):
            self._fates[-1] = self._fate_names.setdefault(why, min(len(self._fate_names), 255))

    def was_placed(self, account: str, number: str, *, repeated_ref: bool, double_ring: bool) -> None:
        self.placed += 1
        self.repeated_refs += repeated_ref
        self.double_rings += double_ring
        self.calls_per_number[number] = self.calls_per_number.get(number, 0) + 1
        self.live += 1
        self.max_live = max(self.max_live, self.live)
        entry = self._account(account)
        entry.placed += 1
        entry.live += 1
        entry.max_live = max(entry.max_live, entry.live)

    def has_ended(self, call: Call) -> None:
        self.live -= 1
        self._account(call.order.account).live -= 1
        self.ended[call.outcome] += 1

    def live_of(self, account: str) -> int:
        return self._account(account).live

    def nth_call(self, number: str) -> int:
        """Which call (from 1) the next one to ``number`` will be."""
        return self.calls_per_number.get(number, 0) + 1

    def instants(self, account: str | None = None) -> list[float]:
        """Arrival instants on the monotonic clock, of one account or of all."""
        if account is None:
            return list(self._monotonic)
        index = self._account(account).index
        return [instant for instant, who in zip(self._monotonic, self._who, strict=True) if who == index]

    def report(self, details: frozenset[Detail], calls: Sequence[CallRecord], calls_kept: int) -> LedgerReport:
        """The whole truth as of now. ``calls`` are the records to show where ``details`` asks for calls."""
        return LedgerReport(
            requests=self.requests,
            placed=self.placed,
            refused=dict(self.refused),
            numbers=len(self.calls_per_number),
            numbers_called_again=sum(count > 1 for count in self.calls_per_number.values()),
            most_calls_to_one_number=max(self.calls_per_number.values(), default=0),
            repeated_refs=self.repeated_refs,
            double_rings=self.double_rings,
            live=self.live,
            max_live=self.max_live,
            max_per_second=most_in_window(self._monotonic),
            ended=dict(self.ended),
            reads=dict(self.reads),
            webhooks=dict(self.webhooks),
            accounts={name: self._account_report(entry) for name, entry in self._accounts.items()},
            arrivals_not_kept=self.requests - len(self._monotonic),
            calls_not_kept=self.placed - calls_kept,
            calls_per_number=dict(self.calls_per_number) if "numbers" in details else None,
            requests_per_number=dict(self.requests_per_number) if "numbers" in details else None,
            calls=list(calls) if "calls" in details else None,
            arrivals=self._arrivals() if "arrivals" in details else None,
        )

    def _account(self, name: str) -> _Account:
        entry = self._accounts.get(name)
        if entry is None:
            entry = self._accounts[name] = _Account(name, len(self._accounts))
        return entry

    def _account_report(self, entry: _Account) -> AccountReport:
        return AccountReport(
            requests=entry.requests,
            placed=entry.placed,
            live=entry.live,
            max_live=entry.max_live,
            max_per_second=most_in_window(self.instants(entry.name)),
        )

    def _arrivals(self) -> Arrivals:
        accounts, fates = list(self._accounts), list(self._fate_names)
        return Arrivals(
            monotonic=list(self._monotonic),
            wall=list(self._wall),
            account=[accounts[who] for who in self._who],
            fate=[fates[fate] for fate in self._fates],
        )
