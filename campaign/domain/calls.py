"""A call as it leaves us, as we remember it, and as the provider reports it. All times are epoch seconds, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from campaign.domain.dispositions import Disposition


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """One originate request, before a provider's file puts it into its own words.

    ``phone`` is E.164 with ``+``. ``our_ref`` is 32 hex digits, unique per attempt, sent wherever the provider takes an
    id or a variable of ours. ``caller_id`` is one of the line's. ``variables`` are the target's CSV columns.
    """

    our_ref: str
    phone: str = field(repr=False)
    caller_id: str | None = None
    campaign: str = ""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RememberedCall:
    """An attempt of ours as needed to ask the provider about it. ``sent_at`` is when the request left. ``others`` are
    the provider's ids of calls to the number that are other attempts of ours: who looks by number and time passes them
    over.

    Where ``lost_until`` is set, a restore has lost the attempt itself: it is any other call to the number since
    ``sent_at``, under whatever reference.
    """

    attempt_id: int
    our_ref: str
    phone: str = field(repr=False)
    call_id: str | None
    sent_at: float
    caller_id: str | None = None
    lost_until: float | None = None
    others: frozenset[str] = frozenset()


class ReportStatus(StrEnum):
    PENDING = "pending"  # known and not ended
    FINAL = "final"  # ended, with a disposition
    MISSING = "missing"  # the provider does not know it (yet); never evidence by itself
    UNREACHABLE = "unreachable"  # the question could not be asked or the answer not read; ask again later


@dataclass(frozen=True, slots=True)
class CallReport:
    """What the provider said about one call. ``raw`` keeps its own state word; ``talk_seconds`` is whole seconds.

    ``rang`` is None where the provider does not tell; False while it holds the call in a queue, and of one that was
    canceled there.
    """

    status: ReportStatus
    attempt_id: int | None = None
    call_id: str | None = None
    our_ref: str | None = None
    phone: str | None = field(default=None, repr=False)
    disposition: Disposition | None = None
    raw: str = ""
    reason: str = ""
    answered_at: float | None = None
    ended_at: float | None = None
    talk_seconds: int | None = None
    rang: bool | None = None


class FindingKind(StrEnum):
    FOUND = "found"  # the provider has a call that is ours; `report` may already be final
    ABSENT = "absent"  # the same query showed `canary` and not the call
    BLIND = "blind"  # the list was read but nothing proves that it would show the call (no canary)
    UNABLE = "unable"  # this provider offers no way to look
    UNREACHABLE = "unreachable"  # the look failed; look again later


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one look for an unconfirmed call. ``as_of`` is the time before the query was sent."""

    kind: FindingKind
    as_of: float
    call_id: str | None = None
    report: CallReport | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """One delivery as it came. ``verified`` says that the line's secret was presented; headers are lower-cased."""

    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float
    verified: bool
