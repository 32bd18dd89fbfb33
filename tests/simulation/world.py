"""One seed's world, put together and run to its end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from campaign.domain.calls import ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.rows import Target
from campaign.domain.states import TargetState
from tests.simulation.clockwork import Clockwork, Machine, Steps, Storm, Task
from tests.simulation.database import (
    AttemptRow,
    Away,
    Campaign,
    Database,
    InboxRow,
    LineRow,
    TargetRow,
)
from tests.simulation.oracle import Oracle
from tests.simulation.protocol import Protocol
from tests.simulation.provider import Call, Exchange, Provider
from tests.simulation.scenario import Climate, Scenario, draw, temperate

Result = TypeVar("Result")
SKEWS = (-300.0, -20.0, 0.0, 20.0, 300.0)


@dataclass(slots=True)
class Outcome:
    """How one seed went. ``violation`` None: nothing that must not happen happened. ``seconds`` are simulated."""

    seed: int
    violation: str | None = None
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)


class World:
    def __init__(
        self, seed: int, protocol: Callable[..., Protocol], climate: Climate = temperate, *, beyond: bool = False
    ) -> None:
        self.rng = Random(seed)
        s = self.scenario = climate(draw(self.rng, beyond=beyond))
        self.clock = Clockwork(s.start)
        self.database = Database()
        self.seen: Counter[str] = Counter()
        self.providers = {name: self._provider(s, name) for name in s.lines}
        self._fill(s)
        self.oracle = Oracle(self.database, self.providers)
        self.protocol = protocol(self.clock, self.database, dict.fromkeys(s.lines, s.rules), self.oracle)
        self.protocol.margin = s.margin
        self.storm = Storm(self.clock, self.rng, s.storm_ends, s.freezes)
        self.machines = [Machine(n, s.risk, self.rng.choice(SKEWS)) for n in range(s.workers)]
        self.spite: Callable[[AttemptRow], None] = lambda row: None
        """What comes between the claim and the send of this attempt."""
        self.haste: Callable[[], None] = lambda: None
        """What a person does who cannot wait for doubts to be settled."""
        self.away = (0.0, 0.0)
        """From when until when the database does not answer."""

    def _provider(self, s: Scenario, line: str) -> Provider:
        def taken(row: AttemptRow, exchange: Exchange, call: Call) -> None:
            self.oracle.taken(row, exchange, call, self.clock.now)
            if s.cancels and not exchange.late and s.flaky == 0.0:
                self.clock.at(call.rings_at, lambda: self.oracle.has_its_turn(row, call))
            self._tell(line, call)

        return Provider(s, self.rng, taken)

    def _fill(self, s: Scenario) -> None:
        for number, (plan, phones) in enumerate(zip(s.plans, s.numbers, strict=True), start=1):
            self.database.campaigns[number] = campaign = Campaign(number, s.lines[(number - 1) % len(s.lines)], plan)
            for phone in phones:
                value = Target(len(self.database.targets) + 1, TargetState.WAITING, due_at=s.start, reason="new")
                self.database.targets[value.id] = TargetRow(value, campaign, phone)
        for name in s.lines:
            self.database.lines[name] = LineRow(name, s.rate, s.max_in_flight)

    @property
    def stormy(self) -> bool:
        return self.clock.now < self.scenario.storm_ends

    def spawn(self, machine: Machine, steps: Steps, delay: float = 0.0) -> None:
        self.clock.at(self.clock.now + delay, Task(steps, machine, self.storm))

    def begin(self, machine: Machine, steps: Steps) -> None:
        """The first step now."""
        Task(steps, machine, self.storm)()

    def somebody(self) -> Machine | None:
        """Any machine that is up; a frozen one takes the work and sits on it."""
        up = [machine for machine in self.machines if not machine.down]
        return self.rng.choice(up) if up else None

    def transact(self, body: Callable[[], Result]) -> Result:
        """Run one transaction. Raises Away where it was not run, or was, and its COMMIT's answer is lost."""
        now = self.clock.now
        if self.away[0] <= now < self.away[1]:
            raise Away
        lossy = now < self.scenario.storm_ends and self.rng.random() < self.scenario.lose_commit
        if lossy and self.rng.random() < 0.5:
            raise Away
        result = body()
        if lossy:
            self.seen["lost commits"] += 1
            raise Away
        return result

    def depart(self, row: AttemptRow) -> Exchange:
        """The first byte leaves; the provider acts on the request whether or not its sender lives to see that."""
        self.oracle.departed(row, self.clock.now)
        provider = self.providers[row.line]
        exchange = provider.depart(row, self.clock.now, stormy=self.stormy)
        self.seen[f"fate {exchange.fate}"] += 1
        if exchange.arrives_at is not None:
            self.clock.at(exchange.arrives_at, lambda: provider.arrive(exchange, self.clock.now))
        return exchange

    def _tell(self, line: str, call: Call) -> None:
        """Webhooks about a call: lost, twice, late, out of order, before the answer to its own originate."""
        rng = self.rng
        if rng.random() > 0.4:
            return
        for about in (call.taken_at, call.ends_at, call.ends_at):
            if rng.random() < 0.6:
                late = rng.random() * (2.0 if rng.random() < 0.8 else 3000.0)
                self.clock.at(about + late, self._delivery(line, call, about))

    def _delivery(self, line: str, call: Call, about: float) -> Callable[[], None]:
        def deliver() -> None:
            report = call.report(call.told_at if about == call.ends_at else about)
            told = self.database.attempts[call.attempt_id].value.disposition
            if told is call.disposition is not Disposition.UNKNOWN:
                other = Disposition.BUSY if call.disposition is not Disposition.BUSY else Disposition.NO_ANSWER
                report = replace(report, status=ReportStatus.FINAL, disposition=other)  # changes nothing any more
            if self.scenario.level in (0, 2):
                report = replace(report, our_ref=None)
            self.database.inbox.append(InboxRow(self.clock.now, line, report))
            self.database.version += 1
            self.seen["webhooks"] += 1

        return deliver
