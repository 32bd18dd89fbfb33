"""One simulated call: what was ordered, what becomes of it and when. Pure; times are epoch seconds that never step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from campaign.domain.dispositions import Disposition


class CallState(StrEnum):
    QUEUED = "queued"  # accepted, not ringing yet
    RINGING = "ringing"
    TALKING = "talking"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Order:
    """An originate request as a dialect read it.

    ``number`` is the dialled number as ``+`` and digits, the key of the ledger; ``dialled`` is how the client wrote it.
    ``ref`` is the client's own id where its dialect has one. ``details`` are words the dialect needs later.
    """

    dialect: str
    account: str
    number: str
    dialled: str
    ref: str | None = None
    caller_id: str = ""
    variables: Mapping[str, object] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Whims:
    """What faults did to one call beside its answer. Seconds; ``swallowed`` means that its result never shows."""

    late: float = 0.0
    queued: float = 0.0
    result_lag: float = 0.0
    list_lag: float = 0.0
    swallowed: bool = False
    webhook_twice: bool = False
    webhook_shuffled: bool = False
    webhook_lost: bool = False
    outcome: Disposition | None = None


NO_WHIMS = Whims()


@dataclass(slots=True, eq=False)
class Call:
    """A call that was placed. ``ring`` and ``talk`` are seconds before the time scale; the instants are after it."""

    id: str
    order: Order
    nth: int
    outcome: Disposition
    ring: float
    talk: float
    accepted_at: float
    rings_at: float
    answered_at: float | None
    ends_at: float
    told_at: float
    listed_at: float
    whims: Whims = NO_WHIMS
    over: bool = False

    def state(self, now: float) -> CallState:
        if now >= self.ends_at:
            return CallState.ENDED
        if self.answered_at is not None and now >= self.answered_at:
            return CallState.TALKING
        return CallState.RINGING if now >= self.rings_at else CallState.QUEUED

    def has_rung(self, now: float) -> bool:
        """Whether the phone has rung by ``now``; never, for a call that was canceled while it was queued."""
        return self.rings_at <= min(now, self.ends_at)

    def told(self, now: float) -> Disposition | None:
        """The outcome once the provider tells it, which may be later than the end, or never."""
        return self.outcome if now >= self.told_at else None

    def told_state(self, now: float) -> CallState:
        """The state as the provider shows it: a call whose result is held back still seems to go on."""
        state = self.state(now)
        if state is not CallState.ENDED or now >= self.told_at:
            return state
        return CallState.RINGING if self.answered_at is None else CallState.TALKING

    def cut(self, now: float, outcome: Disposition, lag: float) -> None:
        """The call ends now, by a cancel; its result shows ``lag`` seconds later."""
        self.outcome, self.ends_at, self.told_at = outcome, now, now + lag
        if self.answered_at is not None and self.answered_at > now:
            self.answered_at, self.talk = None, 0.0
