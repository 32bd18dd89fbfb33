"""What the processes do, step by step: every ``yield`` is a place where one may be killed or frozen."""

from collections.abc import Sequence
from functools import partial

from campaign.domain.pace import Correction, Want
from campaign.domain.states import AttemptState
from campaign.domain.verdicts import VerdictKind
from campaign.policies.events import Answered, GivenBack, Looked, Reported
from campaign.policies.pacing import HORIZON, SECOND
from tests.simulation.clockwork import Machine, Steps
from tests.simulation.database import AttemptRow, Away, Campaign, InboxRow, IndexRefused
from tests.simulation.oracle import Violation
from tests.simulation.protocol import LOOK_LEASE, Hand, Happened
from tests.simulation.world import World

RUN = 3.0
WINDOW = 0.2
LEAD = 0.15
LINGER = 0.2
GATHER = 0.02
Timed = list[tuple[float, Hand]]


class Workers:
    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.database = world.database
        self.protocol = world.protocol
        self.rng = world.rng
        self.turn = 0

    # --- dialling

    def dial(self, machine: Machine, line: str) -> Steps:
        memory = machine.memory
        if line in memory.dialing:
            return
        memory.dialing.add(line)
        held = memory.held.setdefault(line, [])
        until = self.clock.now + RUN
        while self.clock.now < until:
            try:
                looked_at = self._claim(line, held)
            except Away:
                break
            if not held and not looked_at:
                break
            yield 0.002
            if held:
                yield self._give_start_times(machine, line, held) - self.clock.now
        memory.dialing.discard(line)
        self._give_back_all(machine, held)

    def _claim(self, line: str, held: list[Hand]) -> int:
        row = self.database.lines[line]
        wanted = int(row.rate * row.health.pace_factor * HORIZON) + 1 - len(held)
        if wanted <= 0:
            return 1
        self.turn += 1
        hands, looked_at = self.world.transact(lambda: self.protocol.claim(line, wanted, self.turn))
        held.extend(hands)
        if hands and self.world.stormy and self.rng.random() < self.world.scenario.spite:
            self.clock.at(self.clock.now + self.rng.random() * 0.5, partial(self.world.spite, hands[0].row))
        return looked_at

    def _give_start_times(self, machine: Machine, line: str, held: list[Hand]) -> float:
        """Send those that get a start time on their way; when to look again."""
        groups: dict[int, list[Hand]] = {}
        for hand in held:
            groups.setdefault(hand.row.campaign.id, []).append(hand)
        wants = [_want(hands[0].row.campaign, len(hands)) for hands in groups.values()]
        queues = list(groups.values())
        grant = self.protocol.reserve(line, wants, machine.memory.untold.pop(line, ()))
        timed = [(at / SECOND, queues[index].pop(0)) for index, at in grant.times]
        held[:] = [hand for queue in queues for hand in queue]
        now = self.clock.now
        for window in _windows(timed):
            self.world.spawn(machine, self._leave(machine, line, window), max(0.0, window[0][0] - LEAD - now))
        if grant.retry_at is not None:
            return min(max(grant.retry_at / SECOND, now + 0.001), now + HORIZON)
        return max(timed[-1][0] - LEAD if timed else now + LINGER, now + 0.001)

    def _leave(self, machine: Machine, line: str, window: Timed) -> Steps:
        since = self.clock.now
        fresh = [hand for _, hand in window if hand.since is None]
        try:
            going = self.world.transact(lambda: self.protocol.confirm(line, fresh))
        except Away:
            for at, hand in window:
                _note(machine, hand, at)
                self._give_back(machine, hand)
            return
        if self.world.stormy and self.rng.random() < self.world.scenario.stuck:
            self.world.storm.freeze(machine, 400.0 + self.rng.random() * 1000.0)
        yield 0.003
        committed_at = self.clock.now
        for hand in going:
            hand.since = since
            hand.committed_at = committed_at
        for at, hand in window:
            if hand.since is None:
                _note(machine, hand, at)
                continue
            yield max(0.0, at - self.clock.now)
            self.world.spawn(machine, self._send(machine, line, at, hand))

    def _send(self, machine: Machine, line: str, at: float, hand: Hand) -> Steps:
        """Both guards stand in the step in which the request leaves: a freeze before it is noticed."""
        if self.protocol.start_is_missed(hand.row, at, self.clock.now):
            self.world.seen["starts missed"] += 1
            _note(machine, hand, at)
            machine.memory.held.setdefault(line, []).append(hand)
            if line not in machine.memory.dialing:
                self._give_back_all(machine, machine.memory.held[line])
            return
        if self.protocol.too_late_to_send(hand, self.clock.now):
            self.world.seen["guarded"] += 1
            _note(machine, hand, at)
            self._give_back(machine, hand)
            return
        _note(machine, hand, at, self.clock.now)
        exchange = self.world.depart(hand.row)
        timeout = self.world.scenario.rules.request_timeout
        left_at = self.clock.now
        if exchange.fate == "not_sent":
            yield 0.1
        elif exchange.arrives_at is None and exchange.fate == "reset_before":
            yield 0.2
        elif exchange.arrives_at is None:
            yield timeout
        else:
            yield min(exchange.arrives_at - left_at + exchange.answers_after + 0.001, timeout)
        verdict = self.world.providers[hand.row.line].answer(exchange)
        if (
            verdict.kind is VerdictKind.UNCONFIRMED
            and self.world.stormy
            and self.rng.random() < self.world.scenario.haste
        ):
            self.clock.at(self.clock.now + self.rng.random() * 30.0, self.world.haste)
        self.put(machine, (hand.row.value.id, Answered(hand.token, verdict)))

    def _give_back(self, machine: Machine, hand: Hand) -> None:
        self.put(machine, (hand.row.value.id, GivenBack(hand.token, "its worker gave it back")))

    def _give_back_all(self, machine: Machine, held: list[Hand]) -> None:
        for hand in held:
            self._give_back(machine, hand)
        held.clear()

    # --- recording

    def put(self, machine: Machine, *happened: Happened) -> None:
        memory = machine.memory
        memory.unwritten.extend(happened)
        if not memory.flushing:
            memory.flushing = True
            self.world.spawn(machine, self._flush(machine), GATHER)

    def _flush(self, machine: Machine) -> Steps:
        memory = machine.memory
        while memory.unwritten:
            batch = list(memory.unwritten)
            memory.unwritten.clear()
            pause = 0.2
            while not self._written(batch):
                yield pause
                pause = min(pause * 2.0, 5.0)
            if memory.unwritten:
                yield 0.002
        memory.flushing = False

    def _written(self, batch: Sequence[Happened]) -> bool:
        try:
            self.world.transact(lambda: self.protocol.record(batch))
        except Away:
            return False
        except IndexRefused as refused:
            raise Violation(f"a recording that the database will refuse for ever: {refused}") from None
        return True

    # --- looking again

    def poll(self, machine: Machine, line: str) -> Steps:
        rules = self.world.scenario.rules
        try:
            taken = self.world.transact(
                lambda: self.protocol.take(line, AttemptState.PLACED, LOOK_LEASE + rules.request_timeout)
            )
        except Away:
            return
        for row, _ in taken:
            self.world.spawn(machine, self._ask(machine, row), self.rng.random() * 0.2)
        yield from ()  # one step

    def _ask(self, machine: Machine, row: AttemptRow) -> Steps:
        provider, scenario = self.world.providers[row.line], self.world.scenario
        report = provider.result(row, self.clock.now)
        until_the_next = scenario.rules.poll.every + 2 * scenario.rules.request_timeout
        if scenario.cancels and self.protocol.must_not_ring(row, report, until_the_next):
            yield 0.1
            if provider.cancel(row, self.clock.now):
                report = provider.result(row, self.clock.now)
        yield self.rng.random() * (0.2 if self.rng.random() < 1.0 - 0.1 * scenario.flaky else 100.0)
        self.put(machine, (row.value.id, Reported(report)))

    def settle(self, machine: Machine, line: str) -> Steps:
        rules = self.world.scenario.rules
        lease = LOOK_LEASE + 3 * rules.request_timeout
        try:
            taken = self.world.transact(lambda: self.protocol.take(line, AttemptState.UNCONFIRMED, lease))
        except Away:
            return
        taken_at = self.clock.now
        yield 0.002
        canary = self.protocol.canary(line, rules.list_lag) if taken else None
        for row, token in taken:
            look = self._look(machine, row, token, canary, taken_at)
            self.world.spawn(machine, look, self.rng.random() * 0.5)

    def _look(self, machine: Machine, row: AttemptRow, token: int, canary: AttemptRow | None, taken_at: float) -> Steps:
        provider = self.world.providers[row.line]
        others = self.protocol.other_calls(row)
        finding = provider.find(row, canary, others, self.protocol.as_of(taken_at, machine), self.clock.now)
        yield self.rng.random() * (500.0 if self.rng.random() < self.world.scenario.slow_looks else 0.2)
        finding = self.protocol.not_anothers(row, self.protocol.absence(finding, canary))
        self.world.seen[f"look {finding.kind}"] += 1
        self.put(machine, (row.value.id, Looked(token, finding)))

    def read_inbox(self, machine: Machine, _line: str) -> Steps:
        try:
            taken = self.world.transact(self.protocol.take_deliveries)
        except Away:
            return
        for delivery in taken:
            yield 0.005
            self._handle(delivery)

    def _handle(self, delivery: InboxRow) -> None:
        try:
            self.world.transact(lambda: self.protocol.handle_delivery(delivery))
        except Away:
            return


def _note(machine: Machine, hand: Hand, at: float, left_at: float | None = None) -> None:
    """To be told with the next asking: when the call of a start time left, or that none did."""
    late = None if left_at is None else max(0, round((left_at - at) * SECOND))
    correction = Correction(round(at * SECOND), late, _want(hand.row.campaign, 0).own)
    machine.memory.untold.setdefault(hand.row.line, []).append(correction)


def _want(campaign: Campaign, count: int) -> Want:
    return Want(f"c{campaign.id}", count, campaign.plan.pace.calls_per_second)


def _windows(timed: Timed) -> list[Timed]:
    windows: list[Timed] = []
    for at, hand in timed:
        if not windows or at - windows[-1][0][0] > WINDOW:
            windows.append([])
        windows[-1].append((at, hand))
    return windows
