"""What one worker process keeps: the database, one event loop on a thread of its own, a pool of connections per line.

Made at the first order (after any fork), shut down when the worker ends: then nothing more is claimed, what is in the
air is waited for and recorded, and only then may the process go.
"""

import asyncio
import gc
import logging
import mmap
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Any

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.retry import Retry as BlockingRetry

from campaign.domain.line import Line
from campaign.providers.http import LineSender
from campaign.providers.port import Provider
from campaign.runtime import Runtime, connect, open_runtime, read_settings
from campaign.services import restoring
from campaign.services.dialing import Dialer
from campaign.services.outside import Outside
from campaign.services.recorder import Recorder
from campaign.services.restoring import Memory
from campaign.services.settling import Settler
from campaign.services.tracking import Tracker
from campaign.services.webhooks import InboxReader
from campaign.storage import process_rows
from campaign.storage.engine import SystemClock
from workers import event_loop, failpoints, logs
from workers.carrying import Carriers
from workers.throttle import RedisThrottle
from workers.witnesses import InRedis, SideFile

log = logging.getLogger(__name__)


class SharedFlag:
    """Set once, read often, by a worker and the processes that it forked. There is no lock in it: a process that is
    killed while it looks at a multiprocessing.Event takes the Event's lock to its grave, and all others wait for it."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._byte[0] = 1

    def is_set(self) -> bool:
        return self._byte[0] == 1


stopping = SharedFlag()
"""Set when the worker has been told to end; shared with forked processes because it is made before the fork."""

_ending = threading.Event()
"""Set when this one process ends: another one takes its place, and the worker goes on."""

OCCUPIED = 0.25
"""Seconds for which an order occupies its worker process, so that the next one goes to another. What takes longer goes
on in the background: a process that dials must still be able to take polls, and the tick."""

AT_ONCE = 2
"""Runs of one kind for one line in one process: one under way, and one that takes over from it."""

COLLECT = (50_000, 10, 10)
"""When Python looks for rings of garbage. A call in the air is a hundred objects and no ring; at Python's own threshold
of 700 each was looked at several times, which took a fifteenth of a call's CPU."""

TAKE_TURNS_EVERY = 0.0005
"""Seconds after which a thread of ours that computes lets another one compute. At Python's own 5 ms the event loop
waited so long for each answer and each departure while a claim was made; at the median of ten runs its calls left 25 ms
late instead of 14. Where the machine is slowest it makes no difference."""

DATABASE_THREADS = 4
DRAIN_SPARE = 10.0
LAST_LOOK = 2.0
"""Seconds that looks under way get when the process ends; their calls are looked at again by others."""

SAY_SO_EVERY = 0.4
"""Seconds after which a process that carries a line says so again."""

BEAT_EVERY = 2.0
WATCH_EVERY = 2.0
"""Seconds between two reviews: what a machine that loses all its processes at once no longer remembers."""

ASK_FOR = 3.0
"""Seconds that Redis gets to say what it remembers."""


@dataclass(slots=True)
class LineHands:
    """Everything this process keeps for one line, on the event loop."""

    provider: Provider
    sender: LineSender
    dialer: Dialer
    tracker: Tracker
    settler: Settler
    inbox: InboxReader
    carriers: Carriers
    dialling: bool = False

    async def dial(self, seconds: float, needed: int) -> None:
        """Dial as long as there is work, unless so many others do as are ``needed``. One that does not keep up with its
        line lets another take its place, and if there is none goes on."""
        line = self.dialer.line.name
        if not await self.carriers.join(line, needed) or self.dialling:
            return
        self.dialling = True
        try:
            await self._dial_on(asyncio.create_task(self.dialer.run(seconds)), seconds)
        finally:
            self.dialling = False
            await self.carriers.leave(line)

    async def _dial_on(self, run: "asyncio.Task[None]", seconds: float) -> None:
        line = self.dialer.line.name
        while not run.done():
            await asyncio.wait([run], timeout=SAY_SO_EVERY)
            if self.dialer.behind:
                await self.carriers.leave(line)
            if not run.done() and await self.carriers.join(line):
                self.dialer.go_on(seconds)
        await run


@dataclass(slots=True)
class Process:
    runtime: Runtime
    loop: asyncio.AbstractEventLoop
    threads: ThreadPoolExecutor
    outside: Outside
    redis: Redis
    name: str
    watch: "asyncio.Task[None] | None" = None
    _hands: dict[str, LineHands] = field(default_factory=dict)
    _beaten_at: float = float("-inf")
    _running: Counter[tuple[str, str]] = field(default_factory=Counter)
    _runs: set[asyncio.Task[None]] = field(default_factory=set)

    def run(self, work: Callable[[LineHands], Coroutine[Any, Any, None]], line: str, role: str) -> bool:
        """Carry out one order on the event loop; waits for it, but not for long. False where this worker does not know
        the line."""
        self.beat(role)
        if line not in self.runtime.lines:
            log.warning("an order for line %s, which this worker's configuration does not have", line)
            return False
        asyncio.run_coroutine_threadsafe(self._carry_out(work, line, role), self.loop).result()
        return True

    async def _carry_out(self, work: Callable[[LineHands], Coroutine[Any, Any, None]], line: str, role: str) -> None:
        """Start the run unless enough are under way; returns when it ends or has occupied us long enough."""
        if self._running[role, line] >= AT_ONCE:
            return
        self._running[role, line] += 1
        run = asyncio.create_task(work(self._hands_for(self.runtime.lines[line])), name=f"{role} {line}")
        self._runs.add(run)
        run.add_done_callback(lambda run: self._ended(run, role, line))
        await asyncio.wait([run], timeout=OCCUPIED)

    def _ended(self, run: asyncio.Task[None], role: str, line: str) -> None:
        self._running[role, line] -= 1
        self._runs.discard(run)
        if not run.cancelled() and (error := run.exception()):
            place = extract_tb(error.__traceback__)[-1]  # where, and not with what: a text may hold a number
            log.error("%s %s failed: %s in %s, line %s", role, line, type(error).__name__, place.name, place.lineno)

    def _hands_for(self, line: Line) -> LineHands:
        if line.name not in self._hands:
            provider, sender = connect(line, self.outside.connections)
            self._hands[line.name] = LineHands(
                provider,
                sender,
                Dialer(line, provider, self.outside),
                Tracker(line, provider, self.outside),
                Settler(line, provider, self.outside),
                InboxReader(line, provider, self.outside),
                Carriers(self.redis, self.name),
            )
        return self._hands[line.name]

    def beat(self, role: str) -> None:
        """Say in the database that this process makes progress; at most every two seconds."""
        now = self.outside.clock.monotonic()
        if now - self._beaten_at < BEAT_EVERY:
            return
        self._beaten_at = now
        store = self.runtime.store
        with store.write() as connection:
            now = store.now(connection)
            process_rows.beat(connection, self.name, role, now, store.clock_ahead(now))

    async def keep_watch(self) -> None:
        """Every two seconds: does the database still know what this process, and others before it, had committed?"""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            await self.review()

    async def review(self) -> None:
        outside = self.outside
        await outside.in_thread(restoring.review_again, outside.store, outside.memory, outside.new_ref())

    async def drain(self) -> None:
        await asyncio.gather(*(hands.dialer.drained() for hands in self._hands.values()))
        await self.outside.recorder.drained()
        if self._runs:
            await asyncio.wait(self._runs, timeout=LAST_LOOK)
            await self.outside.recorder.drained()
        if self.watch is not None:
            self.watch.cancel()
        await asyncio.wait([asyncio.create_task(self.review())], timeout=LAST_LOOK)
        for hands in self._hands.values():
            await hands.sender.aclose()
        await self.redis.aclose()

    def longest_request(self) -> float:
        return max((line.timeout for line in self.runtime.lines.values()), default=0.0)


_process: Process | None = None
_making = threading.Lock()


def current() -> Process:
    """This process's, made at the first call."""
    global _process
    with _making:
        if _process is None or _process.name != _name():
            _process = _make()
        return _process


def shut_down() -> None:
    """Stop claiming, wait for what is in the air, record it, close. Does nothing where nothing was ever made."""
    global _process
    _ending.set()
    with _making:
        process, _process = _process, None
    if process is None or process.name != _name():
        return
    try:
        wait = process.longest_request() + DRAIN_SPARE
        asyncio.run_coroutine_threadsafe(process.drain(), process.loop).result(wait)
    except TimeoutError:
        log.warning("gave up waiting for requests in the air; their leases will raise doubts")
    process.loop.call_soon_threadsafe(process.loop.stop)
    process.threads.shutdown(wait=False, cancel_futures=True)
    process.runtime.close()


def must_stop() -> bool:
    return _ending.is_set() or stopping.is_set()


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _make() -> Process:
    runtime = open_runtime(read_settings(os.environ, Path.cwd()), os.environ)
    logs.never_show(v.get_secret_value() for line in runtime.lines.values() for v in line.credentials.values())
    if runtime.settings.erasure_key is not None:
        logs.never_show([runtime.settings.erasure_key.secret])
    memory = _remember(runtime)
    failpoints.arm_from_environment(os.environ)
    gc.freeze()  # what was imported lives as long as we do; looking through it would hold up calls
    gc.set_threshold(*COLLECT)
    sys.setswitchinterval(TAKE_TURNS_EVERY)
    loop = event_loop.start()
    threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
    return asyncio.run_coroutine_threadsafe(_assemble(runtime, memory, loop, threads), loop).result()


def _remember(runtime: Runtime) -> Memory:
    """What the processes before this one were sure of. Raises what :func:`campaign.services.restoring.review` raises:
    then this process does nothing, since nobody knows whether it may dial."""
    once = BlockingRetry(NoBackoff(), 0)
    redis = BlockingRedis.from_url(_broker(runtime), socket_timeout=ASK_FOR, socket_connect_timeout=ASK_FOR, retry=once)
    shared = InRedis(redis)
    memory = Memory((SideFile(runtime.settings.home), shared), shared)
    try:
        restoring.review(runtime.store, memory, os.urandom(16).hex())
    except BaseException:
        runtime.close()
        raise
    return memory


async def _assemble(
    runtime: Runtime, memory: Memory, loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> Process:
    async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
        return await loop.run_in_executor(threads, lambda: work(*arguments))

    # No retries: a pace that cannot be had now is asked for by the next order; a call must not wait for it.
    once = Retry(NoBackoff(), 0)
    redis = Redis.from_url(_broker(runtime), socket_timeout=5.0, socket_connect_timeout=5.0, retry=once)
    run: Callable[..., Awaitable[Any]] = in_thread
    outside = Outside(
        store=runtime.store,
        throttle=RedisThrottle(redis),
        clock=SystemClock(),
        recorder=Recorder(runtime.store, runtime.rules, run),
        rules=runtime.rules,
        new_ref=lambda: os.urandom(16).hex(),
        in_thread=run,
        stopping=must_stop,
        erasure_key=runtime.settings.erasure_key,
        memory=memory,
    )
    process = Process(runtime, loop, threads, outside, redis, _name())
    process.watch = asyncio.create_task(process.keep_watch(), name="watch")
    return process


def _broker(runtime: Runtime) -> str:
    return runtime.settings.broker_url or "redis://127.0.0.1:6379/0"
