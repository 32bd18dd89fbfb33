"""The simulated provider: what it really does with a request, and what of that it shows to whoever asks.

Level 0 shows nothing but results by its own id (Knovvu); level 1 refuses a second call to a number that it has
(Pathors); level 2 lists calls by number, level 3 by our reference, both with a lag.
"""

from collections.abc import Callable, Collection
from random import Random

from campaign.domain.calls import CallReport, Finding, FindingKind, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.verdicts import (
    PauseFault,
    Verdict,
    bad_number,
    conflict,
    line_not_ready,
    not_sent,
    pause,
    placed,
    refused_call,
    throttled,
    unconfirmed,
)
from tests.simulation.database import AttemptRow
from tests.simulation.scenario import Scenario

OUTCOMES = (
    (Disposition.ANSWERED, 0.40),
    (Disposition.NO_ANSWER, 0.62),
    (Disposition.BUSY, 0.80),
    (Disposition.VOICEMAIL, 0.86),
    (Disposition.ERROR, 0.92),
    (Disposition.INVALID_NUMBER, 0.95),
    (Disposition.UNKNOWN, 0.96),
    (Disposition.REJECTED, 1.0),
)
LOST_ANSWERS = ("reset_after", "garbage", "timeout_after", "late", "late", "reset_before", "timeout_before")
ANSWERS = ("429", "422", "bad", "not_ready", "401", "503")
CLOCKS_APART = 30.0


class Call:
    """A call as it truly is: taken, perhaps held in a queue until ``rings_at``, ended. ``listed_at`` is from when a
    list shows it, ``told_at`` from when its result is told."""

    __slots__ = (
        "attempt_id",
        "call_id",
        "canceled",
        "disposition",
        "ends_at",
        "left_out",
        "listed_at",
        "phone",
        "ref",
        "rings_at",
        "taken_at",
        "told_at",
    )

    def __init__(self, row: AttemptRow, call_id: str, now: float, rng: Random, scenario: Scenario) -> None:
        lag = scenario.rules.list_lag
        self.attempt_id = row.value.id
        self.ref = row.ref
        self.phone = row.phone
        self.call_id = call_id
        self.taken_at = now
        self.rings_at = now + scenario.queue * rng.random() if scenario.queue else now
        chance = rng.random()
        self.disposition = next(outcome for outcome, up_to in OUTCOMES if chance < up_to)
        lasts = rng.random() * 60.0 if rng.random() < scenario.brief else 300.0 + rng.random() * 900.0
        self.ends_at = self.rings_at + lasts
        self.listed_at = now + rng.random() * lag
        self.told_at = self.ends_at + rng.random() * lag
        self.canceled = False
        self.left_out = False
        """One list has left it out (a page lost under the reader); there is only one such: that is what is promised."""

    @property
    def never_rang(self) -> bool:
        return self.canceled and self.ends_at < self.rings_at

    def cancel(self, now: float) -> bool:
        if now >= self.ends_at:
            return False
        self.canceled, self.disposition = True, Disposition.CANCELED
        self.ends_at = self.told_at = now
        return True

    def report(self, now: float, attempt_id: int | None = None, *, tells_ring: bool = False) -> CallReport:
        final = now >= self.told_at
        return CallReport(
            ReportStatus.FINAL if final else ReportStatus.PENDING,
            attempt_id,
            call_id=self.call_id,
            our_ref=self.ref,
            phone=self.phone,
            disposition=self.disposition if final else None,
            raw="said",
            ended_at=self.ends_at if final else None,
            rang=now >= self.rings_at and not self.never_rang if tells_ring else None,
        )


class Exchange:
    """One request on the wire. ``arrives_at`` None: the provider never sees it; ``verdict`` is what it answers."""

    __slots__ = ("answers_after", "arrives_at", "fate", "late", "row", "verdict")

    def __init__(self, row: AttemptRow, fate: str, now: float, rng: Random, latest: float) -> None:
        self.row = row
        self.fate = fate
        self.late = fate == "late"
        self.verdict: Verdict | None = None
        self.arrives_at: float | None = now + 0.01 + rng.random() * 0.2
        self.answers_after = rng.random() * 2.0
        if fate in ("not_sent", "reset_before", "timeout_before"):
            self.arrives_at = None
        elif self.late:
            self.arrives_at = now + latest * (rng.random() if rng.random() < 0.5 else 1.0 - 0.2 * rng.random())
        elif fate == "slow":
            self.arrives_at = now + rng.random() * 19.5


class Provider:
    def __init__(self, scenario: Scenario, rng: Random, taken: Callable[[AttemptRow, Exchange, Call], None]) -> None:
        self.level = scenario.level
        self.rng = rng
        self.scenario = scenario
        self.faults = scenario.faults
        self.latest = scenario.latest
        self.left_out = scenario.left_out
        self.calls: list[Call] = []
        self.on_their_way: list[Exchange] = []
        self.empty_lists: list[tuple[float, float]] = []
        self.outages: list[tuple[float, float]] = []
        self.foreign: dict[str, tuple[float, float]] = {}
        self.taken = taken

    def depart(self, row: AttemptRow, now: float, *, stormy: bool) -> Exchange:
        exchange = Exchange(row, self._fate(now, stormy=stormy), now, self.rng, self.latest)
        if exchange.arrives_at is not None:
            self.on_their_way.append(exchange)
        return exchange

    def _fate(self, now: float, *, stormy: bool) -> str:
        if _within(self.outages, now):
            return "not_sent" if self.rng.random() < 0.9 else self.rng.choice(("503", "timeout_before"))
        if not stormy or self.rng.random() > self.faults:
            return "ok"
        chance = self.rng.random()
        if chance < 0.55:
            return self.rng.choice(LOST_ANSWERS)
        return self.rng.choice(ANSWERS) if chance < 0.85 else self.rng.choice(("slow", "not_sent"))

    def arrive(self, exchange: Exchange, now: float) -> None:
        """The whole request is here: now the provider decides."""
        self.on_their_way.remove(exchange)
        exchange.verdict = self._decision(exchange, now)

    def _decision(self, exchange: Exchange, now: float) -> Verdict:
        match exchange.fate:
            case "429" | "503":
                return throttled("slow down", self.rng.choice((None, 1.0, 30.0, 300.0)))
            case "422":
                return refused_call("setup failed")
            case "bad":
                return bad_number("no such number")
            case "not_ready":
                return line_not_ready("nobody home")
            case "401":
                return pause(PauseFault.AUTH, "wrong key")
        row = exchange.row
        if self.level == 1 and self._busy(row.phone, now):
            return conflict("already in the call queue")
        call = Call(row, f"call-{len(self.calls) + 1}", now, self.rng, self.scenario)
        self.calls.append(call)
        self.taken(row, exchange, call)
        return placed(call.call_id if self.level != 1 else None)

    def _busy(self, phone: str, now: float) -> bool:
        start, end = self.foreign.get(phone, (0.0, 0.0))
        return start <= now < end or any(c.phone == phone and c.ends_at > now for c in self.calls)

    def answer(self, exchange: Exchange) -> Verdict:
        """What the client sees of the exchange by its deadline."""
        if exchange.fate == "not_sent":
            return not_sent("refused")
        if exchange.verdict is None or exchange.fate in LOST_ANSWERS:
            return unconfirmed(exchange.fate)
        return exchange.verdict

    def result(self, row: AttemptRow, now: float) -> CallReport:
        """One poll. Level 1 finds by our reference (its answer carries no id), all others by their own id."""
        flaky = self.scenario.flaky
        if _within(self.outages, now) or self.rng.random() < 0.05 * flaky:
            return CallReport(ReportStatus.UNREACHABLE, row.value.id)
        call_id = row.value.call_id
        for call in self.calls:
            if (call.ref == row.ref) if self.level == 1 else (call.call_id == call_id):
                if self.rng.random() < 0.1 * flaky:
                    break
                return call.report(now, row.value.id, tells_ring=self.scenario.cancels)
        return CallReport(ReportStatus.MISSING, row.value.id)

    def cancel(self, row: AttemptRow, now: float) -> bool:
        """True where the call is gone, by what the client is told."""
        if _within(self.outages, now):
            return False
        return any(call.call_id == row.value.call_id and call.cancel(now) for call in self.calls)

    def find(
        self, row: AttemptRow, canary: AttemptRow | None, others: Collection[str], as_of: float, now: float
    ) -> Finding:
        if _within(self.outages, now) or self.rng.random() < 0.05:
            return Finding(FindingKind.UNREACHABLE, as_of)
        listed = [] if _within(self.empty_lists, now) else [c for c in self.calls if c.listed_at <= now]
        sent_at = row.value.sent_at if row.value.sent_at is not None else row.value.claimed_at
        if self.level == 3:
            ours = [c for c in listed if c.ref == row.ref]
        else:
            recent = [c for c in listed if c.phone == row.phone and c.taken_at >= sent_at - CLOCKS_APART]
            ours = [c for c in recent if c.call_id not in others]
        call = min(ours, key=lambda c: c.taken_at, default=None)
        if call is not None and not call.left_out and self.rng.random() < self.left_out:
            call.left_out = True
        elif call is not None:
            return Finding(FindingKind.FOUND, as_of, call.call_id, call.report(now, row.value.id))
        if canary is None or not any(c.call_id == canary.value.call_id for c in listed):
            return Finding(FindingKind.BLIND, as_of)
        return Finding(FindingKind.ABSENT, as_of)


def _within(spans: list[tuple[float, float]], now: float) -> bool:
    return any(start <= now < end for start, end in spans)
