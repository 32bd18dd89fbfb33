"""Ticks that send orders which get lost, doubled and late; a person at the console; a nemesis for everything else."""

from collections.abc import Callable

from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, TargetState
from tests.simulation.by_hand import begin_round, release_by_hand, settle_by_hand
from tests.simulation.clockwork import Machine, Steps
from tests.simulation.database import AttemptRow, Away, Campaign
from tests.simulation.workers import Workers
from tests.simulation.world import World

TICKS = 2
FIRST_IDLE, LONGEST_IDLE = 60.0, 5000.0
"""Seconds after which a tick that found nothing due looks again: at first, and at most after nothing but idle looks."""

WORDS = (
    frozenset({Disposition.NO_ANSWER, Disposition.BUSY}),
    frozenset({Disposition.UNKNOWN, Disposition.ERROR, Disposition.REJECTED}),
)
DECISIONS = (None, None, Disposition.NO_ANSWER, Disposition.ANSWERED)


class People:
    def __init__(self, world: World, workers: Workers) -> None:
        self.world = world
        self.workers = workers
        self.clock = world.clock
        self.rng = world.rng
        self.database = world.database
        self.protocol = world.protocol
        self.desk = Machine(-1, 0.0, 0.0)
        self._settles_at = world.scenario.storm_ends + self.rng.random() * 3600.0

    def begin(self) -> None:
        for number in range(TICKS):
            machine = Machine(-2 - number, self.world.scenario.risk / 3, 0.0)
            self._keep_ticking(machine)
        self.world.spite = self._get_between
        self.world.haste = self._settle_doubts_early
        self._plan_trouble()

    # --- ticks

    def _keep_ticking(self, machine: Machine) -> None:
        """A beat process; started again whenever it died."""

        def start() -> None:
            self.world.spawn(machine, self._tick(), self.rng.random())

        machine.on_rise = start
        start()

    def _tick(self) -> Steps:
        idle, version = FIRST_IDLE, -1
        while True:
            now, due = self.clock.now, self.database.next_due()
            if due > now:
                idle = FIRST_IDLE if self.database.version != version else min(idle * 2, LONGEST_IDLE)
                version = self.database.version
                yield min(due - now + self.rng.random(), idle)
                continue
            try:
                self.world.transact(self.protocol.sweep)
            except Away:
                yield 1.0
                continue
            yield 0.001
            self._send_orders()
            idle = 1.0 if self.database.version != version else min(max(idle, 1.0) * 2.0, 300.0)
            version = self.database.version
            yield idle

    def _send_orders(self) -> None:
        now = self.clock.now
        if any(row.due_at is not None and row.due_at <= now for row in self.database.inbox):
            self._order(self.workers.read_inbox, "")
        for line, row in self.database.lines.items():
            live = [r.value for r in self.database.live.values() if r.line == line]
            looks = {v.state for v in live if v.next_look_at is not None and v.next_look_at <= now}
            if AttemptState.PLACED in looks:
                self._order(self.workers.poll, line)
            if AttemptState.UNCONFIRMED in looks:
                self._order(self.workers.settle, line)
            if row.health.not_before <= now and len(live) < row.max_in_flight and self._has_work(line, now):
                self._order(self.workers.dial, line)

    def _has_work(self, line: str, now: float) -> bool:
        for target in self.database.targets.values():
            value, campaign = target.value, target.campaign
            if value.due_at is not None and value.due_at <= now and campaign.line == line and campaign.running:
                return True
        return False

    def _order(self, work: Callable[[Machine, str], Steps], line: str) -> None:
        """A Celery message: a hint that may be lost, said twice, or come very late."""
        chance = self.rng.random() if self.world.stormy else 1.0
        if chance < 0.1:
            self.world.seen["orders lost"] += 1
            return
        self._deliver(work, line, 0.01 if chance > 0.15 else self.rng.random() * 600.0)
        if 0.15 < chance < 0.3:
            self.world.seen["orders doubled"] += 1
            self._deliver(work, line, self.rng.random() * 2.0)

    def _deliver(self, work: Callable[[Machine, str], Steps], line: str, delay: float) -> None:
        def arrive() -> None:
            machine = self.world.somebody()
            if machine is not None:
                self.world.begin(machine, work(machine, line))

        self.clock.at(self.clock.now + delay, arrive)

    # --- trouble

    def _plan_trouble(self) -> None:
        s, rng = self.world.scenario, self.rng
        span = s.storm_ends - s.start
        whenever: list[tuple[float, Callable[[], None]]] = [
            (0.3, self._pause_and_resume),
            (0.2, self._opt_out),
            (0.3, self._flush_redis),
            (0.15, self._database_away),
            (0.3, self._empty_lists),
            (0.2, self._outage),
            (0.2, self._foreign_call),
            (0.1, self._settle_doubts_early),
            (0.2, self._retry_batch),
        ]
        for likely, trouble in whenever:
            for _ in range(2):
                if rng.random() < likely:
                    self.clock.at(s.start + rng.random() * span, trouble)
        self.world.spawn(self.desk, self._sit_at_the_console(), self._settles_at - s.start)

    def _get_between(self, row: AttemptRow) -> None:
        if self.rng.random() < 0.5:
            self._pause(row.campaign)
        else:
            self.world.seen["opt-outs"] += 1
            self.protocol.opt_out(row.phone)

    def _pause_and_resume(self) -> None:
        self._pause(self.rng.choice(list(self.database.campaigns.values())))

    def _pause(self, campaign: Campaign) -> None:
        if campaign.running:
            campaign.running, campaign.paused_at = False, self.clock.now
            self.database.version += 1
            self.world.seen["paused"] += 1
            self.clock.at(self.clock.now + self.rng.random() * 900.0, self._resume_all)

    def _resume_all(self) -> None:
        for campaign in self.database.campaigns.values():
            if not campaign.running:
                campaign.running, campaign.paused_at = True, None
                self.database.version += 1

    def _opt_out(self) -> None:
        target = self.rng.choice(list(self.database.targets.values()))
        self.protocol.opt_out(target.phone)
        self.world.seen["opt-outs"] += 1

    def _flush_redis(self) -> None:
        self.protocol.books.clear()
        self.world.oracle.flushes.append(self.clock.now)
        self.world.seen["flushes"] += 1

    def _database_away(self) -> None:
        self.world.away = (self.clock.now, self.clock.now + self.rng.choice((2.0, 30.0, 120.0)))
        self.world.seen["database away"] += 1

    def _empty_lists(self) -> None:
        self._for_a_while("empty_lists", (60.0, 600.0, 3000.0))

    def _outage(self) -> None:
        self._for_a_while("outages", (5.0, 60.0, 300.0))

    def _for_a_while(self, what: str, spans: tuple[float, ...]) -> None:
        provider = self.rng.choice(list(self.world.providers.values()))
        getattr(provider, what).append((self.clock.now, self.clock.now + self.rng.choice(spans)))
        self.world.seen[what] += 1

    def _foreign_call(self) -> None:
        target = self.rng.choice(list(self.database.targets.values()))
        span = (self.clock.now, self.clock.now + self.rng.random() * 600.0)
        self.world.providers[target.campaign.line].foreign[target.phone] = span

    # --- a person

    def _retry_batch(self) -> None:
        self.world.seen["targets of a retry batch"] += begin_round(self.protocol, self.rng.choice(WORDS))

    def _settle_doubts_early(self) -> None:
        """Somebody cannot wait and signs for a second ring while a doubt is still being looked into."""
        for row in list(self.database.live.values()):
            if row.value.state is AttemptState.UNCONFIRMED and self.rng.random() < 0.5:
                self.world.seen["doubts settled by hand"] += 1
                again = self.world.scenario.level == 1  # there a conflict shows whether it was right
                settle_by_hand(self.protocol, row, None if again else self.rng.choice(DECISIONS))

    def _sit_at_the_console(self) -> Steps:
        """After the storm: mends what is paused, and decides about half of what is held."""
        while True:
            self._resume_all()
            for target in list(self.database.targets.values()):
                if target.value.state is TargetState.HELD and self.rng.random() < 0.3:
                    self._decide(target.value.id)
            yield 3600.0

    def _decide(self, target_id: int) -> None:
        target = self.database.targets[target_id]
        doubtful = [
            row
            for row in self.database.attempts.values()
            if row.target is target and row.value.counted and row.value.disposition is Disposition.UNKNOWN
        ]
        self.world.seen["held ones settled by hand"] += 1
        if doubtful:
            settle_by_hand(self.protocol, doubtful[-1], self.rng.choice(DECISIONS))
        else:
            release_by_hand(self.protocol, target)
