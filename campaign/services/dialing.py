"""Dialling one line from one process: claim, reserve start times, commit `sending`, send, hand the answer on.

Several processes dial the same line at once; they meet only in the database (who calls whom) and in the throttle (who
leaves when). Everything here may be killed between any two lines: see docs/architecture.md for what is left.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from campaign.domain.calls import OutboundCall
from campaign.domain.errors import OutOfReach
from campaign.domain.failpoints import reach
from campaign.domain.line import Line
from campaign.domain.pace import Reservation, StartTime, Want
from campaign.domain.verdicts import Verdict, unconfirmed
from campaign.policies.events import Answered, GivenBack
from campaign.policies.pacing import HORIZON, lateness_allowed
from campaign.services.claiming import Claim, ClaimedCall, Wish, claim, confirm
from campaign.services.departures import Departures
from campaign.services.outside import Outside

log = logging.getLogger(__name__)

BATCH = 500
WINDOW = 0.2
"""Seconds of start times that one commit of `sending` covers: what a kill can leave in doubt."""

LEAD = 0.15
"""Seconds before the first start time at which that commit is asked for."""

BUDGET = 1.5
"""Seconds by this process's own monotonic clock after which a committed call is no longer sent: a process that was
frozen gives its calls back instead of sending them into somebody else's settling."""

TURN = 0.1
"""Seconds between two looks for start times on a quick line, besides what a claim takes. Each takes all that has come
up since the last one, of whichever process. Longer, and a claim that is held up comes too late for its start times;
shorter, and more of them have to be made for as many calls."""

LINGER = 0.2

PATIENCE = 1.2
"""Seconds for which calls wait in hand until their campaign's own pace gives something: longer than it is silent when
its books are opened, so that a campaign that has just been started keeps what was claimed for it."""

AHEAD = 8
"""Where the line is quicker than this process: strides of calls that one commit of `sending` covers, at most BATCH. A
stride is what leaves within the lateness allowed."""

SHORTEST_STRIDE = 10


class Originates(Protocol):
    async def originate(self, call: OutboundCall) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A claimed call without a start time. ``committed`` says by both clocks, monotonic first, when its `sending` was
    asked for, once that is committed."""

    call: ClaimedCall
    committed: tuple[float, float] | None = None


@dataclass(slots=True)
class Dialer:
    """One line in one process. ``run`` may be called again and again; what is in the air outlives a run and is waited
    for by ``drained``."""

    line: Line
    provider: Originates
    outside: Outside
    _held: deque[_Held] = field(default_factory=deque)
    _resting: dict[int, float] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _in_air: int = 0
    _leaving: int = 0
    _runs: int = 0
    _until: float = float("-inf")
    _one_run: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turn: int = 0
    _suspect: int | None = None
    _pace: float = 1.0
    _behind: bool = False
    _stride: int = BATCH
    _missed: int = 0
    _departures: Departures = field(init=False)

    def __post_init__(self) -> None:
        self._departures = Departures(self.outside.clock, self._tell)

    async def run(self, seconds: float) -> None:
        """Dial for at most ``seconds``; returns sooner when nothing is due. Where a run is under way, that one goes on
        for so long."""
        self.go_on(seconds)
        self._runs += 1
        try:
            async with self._one_run:
                await self._run()
        except OutOfReach as error:
            log.warning("line %s: %s", self.line.name, error)
            self._give_back_all("the pace could not be asked for")
        finally:
            self._runs -= 1
            if self._runs == 0:
                self._give_back_all("no start time came up")

    def go_on(self, seconds: float) -> None:
        """A run under way ends so much later than now, at the earliest, unless nothing is due."""
        self._until = max(self._until, self.outside.clock.monotonic() + seconds)

    @property
    def behind(self) -> bool:
        """Is the line quicker than this process?"""
        return self._behind

    async def drained(self) -> None:
        """Returns when nothing of this line is in the air any more; to be called once the process is stopping."""
        async with self._one_run:  # a run under way ends by itself, and may still be giving out start times
            self._give_back_all("the worker is stopping")
        while self._tasks:
            await asyncio.wait(set(self._tasks))
        self._give_back_all("the worker is stopping")
        await self._departures.told()

    async def _run(self) -> None:
        while self._may_go_on():
            if self._behind and len(self._held) > BATCH // 4:
                await self._start_some()
                continue
            room = await self.outside.throttle.room(self.line.name, self._pace)
            self._behind = self._behind and room.calls > BATCH
            found = await self._claim(room.calls)
            if self._held:
                await self._start_some()
            elif room.calls == 0:
                await self._sleep_until(min(self._next_turn(room.retry_at), self._until))
            elif not self._more_to_come(found):
                return
            elif found is None or not found.looked_at:
                await asyncio.sleep(LINGER)

    def _may_go_on(self) -> bool:
        outside = self.outside
        return outside.clock.monotonic() < self._until and not outside.stopping() and not outside.recorder.troubled

    def _more_to_come(self, found: Claim | None) -> bool:
        """Due targets that a gate postponed, room that may come free, a call that may miss its start time."""
        return self._leaving > 0 or found is None or found.looked_at > 0 or found.full

    def _next_turn(self, first: float) -> float:
        """When to look for start times again, the next of which comes up at ``first``."""
        now = self.outside.clock.monotonic()
        gathering = TURN if self._pace * TURN >= 1.0 and not self._behind else 0.0
        return min(max(first, now + 0.001 + gathering), now + HORIZON)

    # --- claiming

    async def _claim(self, room: int) -> Claim | None:
        """No more than there are start times for: what would be left over must be given back."""
        free = self.outside.connections - self._in_air - self._leaving
        wanted = min(room, BATCH, free) - len(self._held)
        if wanted <= 0:
            return None
        self._turn += 1
        outside = self.outside
        wish = Wish(wanted, self._held_by_campaign(), self._at_rest(), self._turn, self._suspect)
        found: Claim = await outside.in_thread(
            claim, outside.store, self.line, wish, outside.new_ref, outside.erasure_key, outside.memory
        )
        self._pace = found.calls_per_second
        self._behind = room > BATCH and len(found.calls) == wanted
        self._suspect = next((call.attempt_id for call in found.calls if call.suspect), self._suspect)
        self._held.extend(_Held(call) for call in found.calls)
        return found

    def _held_by_campaign(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for held in self._held:
            counts[held.call.campaign_id] = counts.get(held.call.campaign_id, 0) + 1
        return counts

    def _at_rest(self) -> frozenset[int]:
        now = self.outside.clock.monotonic()
        self._resting = {campaign: until for campaign, until in self._resting.items() if until > now}
        return frozenset(self._resting)

    # --- start times

    async def _start_some(self) -> None:
        if self._behind:
            await self._commit_ahead()
        await self._sleep_until(await self._give_start_times())

    async def _give_start_times(self) -> float:
        """Give held calls their start times; returns the monotonic second at which to look again."""
        # Taken out: calls that miss their start time come back to it while we wait for the answer.
        groups = _by_campaign([self._held.popleft() for _ in range(self._length_of_stride())])
        got = await self._reserve(groups)
        self._behind = self._behind and got.retry_at is None
        self._rest(groups, got.retry_at)
        self._hold_again(groups.values())
        # All given. A turn later that much has come up again; not at the last start time, when the next ones are here.
        return self._next_turn(got.retry_at or (got.starts[-1].at - HORIZON + TURN if got.starts else 0.0))

    async def _reserve(self, groups: Mapping[int, deque[_Held]]) -> Reservation:
        """Calls leave their group with the start times they get. Raises OutOfReach, with all of them held again and
        what came of earlier start times kept: to be told twice does no harm."""
        wants = [_want(campaign, members) for campaign, members in groups.items()]
        queues = list(groups.values())
        corrections = self._departures.taken()
        try:
            answer = await self.outside.throttle.reserve(self.line.name, self._pace, wants, corrections)
        except BaseException:
            self._hold_again(queues)
            self._departures.again(corrections)
            raise
        for window in _windows([(start, queues[start.want].popleft()) for start in answer.starts]):
            self._start(self._leave(window))
        return answer

    async def _tell(self) -> None:
        try:
            await self._reserve({})
        except OutOfReach as error:
            log.warning("line %s: %s", self.line.name, error)

    def _length_of_stride(self) -> int:
        """For how many calls to ask at once: those that miss their start time ask again and again, so where the line is
        quicker than we are, as many as we have lately sent in time."""
        if not self._behind:
            return len(self._held)
        self._stride = max(self._stride * 3 // 4, SHORTEST_STRIDE) if self._missed else min(self._stride + 10, BATCH)
        self._missed = 0
        ready = sum(held.committed is not None for held in self._held)  # they come first
        return min(self._stride, ready or len(self._held))

    async def _commit_ahead(self) -> None:
        """Start times on a quick line are at once, so `sending` is committed before they are asked for."""
        ready = [held for held in self._held if held.committed is not None]
        fresh = [held for held in self._held if held.committed is None]
        some = min(AHEAD * self._stride, BATCH) if len(ready) < self._stride else 0
        self._held = deque([*ready, *fresh[some:]])
        self._held.extendleft(reversed(await self._confirmed(fresh[:some])))

    def _hold_again(self, queues: Iterable[deque[_Held]]) -> None:
        for queue in queues:
            self._held.extend(queue)

    def _rest(self, groups: Mapping[int, deque[_Held]], retry_at: float | None) -> None:
        """A campaign whose own pace gave nothing for a while is left alone until it may give something."""
        if retry_at is None or retry_at <= self.outside.clock.monotonic() + PATIENCE:
            return
        for campaign, queue in groups.items():
            if queue and queue[0].call.pace_limit is not None:
                self._resting[campaign] = retry_at
                while queue:
                    self._give_back(queue.popleft(), "the campaign's own pace")

    # --- leaving

    async def _leave(self, window: Sequence[tuple[StartTime, _Held]]) -> None:
        self._leaving += len(window)
        try:
            await self._sleep_until(window[0][0].at - LEAD)
            going = {held.call.attempt_id: held for held in await self._confirmed([held for _, held in window])}
            for start, held in window:
                if held.call.attempt_id in going:
                    self._leaving += 1
                    self._start(self._leave_at(start, going[held.call.attempt_id]))
                else:
                    self._departures.unused(start)
        finally:
            self._leaving -= len(window)

    async def _leave_at(self, start: StartTime, held: _Held) -> None:
        # Between the look at the clock and the wire nothing is waited for.
        await self._sleep_until(start.at)
        self._leaving -= 1
        now = self.outside.clock.monotonic()
        if now > start.at + self._lateness_allowed(held.call):
            self._miss(start, held)
            return
        self._departures.begun(start)
        await self._send(held)
        self._departures.ended(start)

    def _miss(self, start: StartTime, held: _Held) -> None:
        """Its moment has passed: it asks for another."""
        self._departures.unused(start)
        self._held.append(held)
        self._missed += 1
        if self._runs == 0:
            self._give_back_all("its start time was missed")

    def _lateness_allowed(self, call: ClaimedCall) -> float:
        line = lateness_allowed(self._pace)
        return line if call.pace_limit is None else min(line, lateness_allowed(call.pace_limit))

    async def _confirmed(self, some: Sequence[_Held]) -> list[_Held]:
        """Those of ``some`` whose `sending` is committed: they may be sent."""
        outside = self.outside
        # Before the commit: a freeze while it runs must use up the budget, too.
        asked = (outside.clock.monotonic(), outside.clock.now())
        fresh = [held.call for held in some if held.committed is None]
        try:
            lease = outside.rules[self.line.name].lease
            knowing = (outside.rules, outside.erasure_key, outside.memory)
            going = await outside.in_thread(confirm, outside.store, self.line, fresh, lease, *knowing) if fresh else []
        except Exception as error:  # the commit is not known to have happened, or not to all: then nothing may be sent
            log.warning("line %s: `sending` was not committed and told (%s)", self.line.name, type(error).__name__)
            for held in some:
                self._give_back(held, "the commit of `sending` was not confirmed")
            return []
        ids = {call.attempt_id for call in going}
        return [
            held if held.committed is not None else _Held(held.call, asked)
            for held in some
            if held.committed is not None or held.call.attempt_id in ids
        ]

    async def _send(self, held: _Held) -> None:
        outside, call = self.outside, held.call
        reach("send.before_request")
        if self._held_up(held):
            self._give_back(held, "its worker was held up between commit and send")
            return
        self._in_air += 1
        try:
            verdict = await self.provider.originate(call.call)
        except MemoryError:  # as if the process had died: its lease tells, and the third time the target is held
            log.critical("line %s: MemoryError while attempt %d was sent", self.line.name, call.attempt_id)
            return
        except Exception as error:  # a fault of ours after the request may have left
            log.error("line %s: the provider's file raised %s", self.line.name, type(error).__name__)
            verdict = unconfirmed(f"a fault of ours: {type(error).__name__}")
        finally:
            self._in_air -= 1
        reach("send.after_answer")
        outside.recorder.put((call.attempt_id, Answered(call.token, verdict)))

    def _held_up(self, held: _Held) -> bool:
        """By either clock: the monotonic one may stand still while a virtual machine is suspended, the other may be set
        back."""
        if held.committed is None:
            return True
        clock = self.outside.clock
        return max(clock.monotonic() - held.committed[0], clock.now() - held.committed[1]) > BUDGET

    # --- giving back, tasks, time

    def _give_back(self, held: _Held, reason: str) -> None:
        self.outside.recorder.put((held.call.attempt_id, GivenBack(held.call.token, reason)))

    def _give_back_all(self, reason: str) -> None:
        while self._held:
            self._give_back(self._held.popleft(), reason)

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sleep_until(self, at: float) -> None:
        wait = at - self.outside.clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)


def _by_campaign(some: Iterable[_Held]) -> dict[int, deque[_Held]]:
    groups: dict[int, deque[_Held]] = {}
    for held in some:
        groups.setdefault(held.call.campaign_id, deque()).append(held)
    return groups


def _want(campaign: int, members: Sequence[_Held]) -> Want:
    return Want(f"campaign:{campaign}", len(members), members[0].call.pace_limit)


def _windows(timed: Sequence[tuple[StartTime, _Held]]) -> list[list[tuple[StartTime, _Held]]]:
    """Cut into stretches of at most WINDOW seconds."""
    windows: list[list[tuple[StartTime, _Held]]] = []
    for start, held in timed:
        if not windows or start.at - windows[-1][0][0].at > WINDOW:
            windows.append([])
        windows[-1].append((start, held))
    return windows
