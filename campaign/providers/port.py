"""What every provider file offers, and what it is handed. Unsupported is the default.

A provider is a class with the attributes below, made once per line with the line and a sender. It holds no state but
what its token needs, never sleeps, never retries, never raises for anything a provider may answer: a fault of the wire
comes back from the sender as :class:`Fault`, everything else is a verdict, a report or a finding.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from campaign.domain.calls import CallReport, Finding, OutboundCall, RememberedCall, WebhookDelivery
from campaign.domain.line import Line, Words
from campaign.domain.verdicts import Verdict

QUEUES = 300.0
"""Seconds that a provider with a queue of its own is taken to hold a call at most, unless it is known better."""

AT_ONCE = 30.0
"""The same where it places a call when it is asked to."""


on_departure: ContextVar[Callable[[], object] | None] = ContextVar("on_departure", default=None)
"""Set in the task that sends. The sender calls it once a request of it has been written. Where a provider needs several
requests for one call, the last one counts."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's API can prove and do. ``docs/providers.md`` is generated from these.

    ``poll_batch`` is how many calls one result query may name (1 where there is no batch form). ``polls_per_second`` is
    the provider's documented limit on reads. ``list_lag`` is how many seconds a call may be missing from a list;
    ``looks_after`` is how many seconds after the send a look for it is first worth while. ``queue_delay`` is for how
    many seconds it may hold a call before it rings. ``own_retry_option`` is the option, anything but 0, by which the
    provider dials again by itself, so often that nobody knows when it last rings.
    """

    poll: bool = False
    webhook: bool = False
    find_by_our_id: bool = False
    find_by_number: bool = False
    conflict_proves: bool = False
    cancel: bool = False
    variables: bool = False
    own_retry: bool = False
    own_retry_option: str | None = None
    poll_batch: int = 1
    polls_per_second: float | None = None
    list_lag: float = 60.0
    looks_after: float = 60.0
    queue_delay: float = QUEUES

    @property
    def find(self) -> bool:
        """A lost call can be looked for."""
        return self.find_by_our_id or self.find_by_number


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. ``path`` is joined to the line's base URL; at most one of ``json`` and ``form`` is given."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    json: object | None = field(default=None, repr=False)
    form: Sequence[tuple[str, str]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. ``headers`` are lower-cased; ``body`` is at most one MiB (a longer one is a Fault)."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """No whole answer. ``sent`` is False only where it is proved that not one byte of the request left."""

    sent: bool
    reason: str


class Sender(Protocol):
    def now(self) -> float:
        """Epoch seconds, UTC: the clock a provider uses for ``Finding.as_of`` and for the age of a call."""
        ...

    async def send(self, request: Request, *, timeout: float | None = None) -> Reply | Fault:
        """One exchange within ``timeout`` seconds (the line's when None): no retries, no redirects, never raises."""
        ...


class Provider(Protocol):
    """One provider's API, spoken over one line."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    options: ClassVar[type[Words]]
    credentials: ClassVar[frozenset[str]]  # required; `webhook_secret` is optional for all with `webhook`
    default_base_url: ClassVar[str | None]

    def __init__(self, line: Line, sender: Sender) -> None:
        """Raises pydantic.ValidationError where the line's options do not fit."""
        ...

    async def originate(self, call: OutboundCall) -> Verdict: ...

    async def results(self, calls: Sequence[RememberedCall]) -> list[CallReport]:
        """One report per call, each with its ``attempt_id``; at most ``poll_batch`` calls are given."""
        ...

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        """Look for an unconfirmed call. ``canary`` is an ended call of ours that the same query must also show."""
        ...

    async def cancel(self, call: RememberedCall) -> bool:
        """True where the provider confirmed that the call is gone."""
        ...

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        """Reports without ``attempt_id``, told apart by ``call_id``, ``our_ref`` or ``phone``. [] is not for us."""
        ...

    async def identify(self, report: CallReport) -> CallReport:
        """Ask whose call a webhook's report is about, where its ``call_id`` is none that we know.

        The report with ``our_ref`` filled in where the provider tells it (Pathors: from the session's variables);
        otherwise, and for every provider that has no such question, the report as it came. Asks at most once.
        """
        ...

    def webhook_challenge(self, delivery: WebhookDelivery) -> Mapping[str, object] | None:
        """The JSON to answer where the delivery is the provider's handshake, else None."""
        ...

    async def check(self) -> Verdict:
        """The cheapest authenticated question, for ``lines check``: PLACED means usable."""
        ...
