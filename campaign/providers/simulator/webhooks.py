"""Webhooks out: which event is due when (pure), and the task that posts them (the edge)."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import isfinite
from urllib.parse import urlencode

from campaign.providers.simulator.calls import Call
from campaign.providers.simulator.dialects.dialect import Dialect, Event
from campaign.providers.simulator.ledger import Ledger
from campaign.providers.simulator.options import SimulatorOptions, WebhookTarget

OUT_OF_ORDER_GAP = 0.02
FIRST_PAUSE = 0.25
POST_TIMEOUT = 10.0
OPEN_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST about ``call``. ``headers`` and ``url`` carry the secret the way the dialect's provider does."""

    call: str
    url: str
    headers: dict[str, str]
    body: bytes


Post = Callable[[Delivery], Awaitable[int]]  # gives the status of the answer


class Outbox:
    """Events not yet due, in order of time. Pure: ``now`` is an argument."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self._due: list[tuple[float, int, str, object, Call, float]] = []
        self._order = count()

    def plan(self, dialect: Dialect, call: Call, now: float) -> None:
        """Takes in the events of a call that was placed, or what is left of them after a cancel."""
        if dialect.name not in self.options.webhooks or call.whims.webhook_lost:
            return
        events = [event for event in dialect.events(call, self.options) if event.at >= now and isfinite(event.at)]
        for event in _in_wire_order(call, events):
            heappush(self._due, (event.at, next(self._order), dialect.name, event.payload, call, call.ends_at))

    def take(self, now: float) -> list[Delivery]:
        """What is due by ``now``. Events of a call that was canceled since they were planned are dropped."""
        due = []
        while self._due and self._due[0][0] <= now:
            _, _, dialect, payload, call, ends_at = heappop(self._due)
            target = self.options.webhooks.get(dialect)
            if target is not None and call.ends_at == ends_at:
                due.append(delivery(call.id, dialect, target, payload))
        return due

    def next_at(self) -> float | None:
        return self._due[0][0] if self._due else None

    def clear(self) -> None:
        self._due.clear()


def delivery(call: str, dialect: str, target: WebhookTarget, payload: object) -> Delivery:
    """The secret travels as MobTexting and the sandbox do it (Bearer), as NetSapiens must (URL), or as a header."""
    url, headers = target.url, {"Content-Type": "application/json"}
    if target.secret is not None:
        secret = target.secret.get_secret_value()
        if dialect in ("mobtexting", "sandbox"):
            headers["Authorization"] = f"Bearer {secret}"
        elif dialect == "netsapiens":
            url += ("&" if "?" in url else "?") + urlencode({"token": secret})
        else:
            headers["X-Webhook-Secret"] = secret
    return Delivery(call, url, headers, json.dumps(payload).encode())


def _in_wire_order(call: Call, events: Sequence[Event]) -> list[Event]:
    """The events as the call's faults send them: in order, backwards, or each twice."""
    if call.whims.webhook_shuffled and events:
        last = max(event.at for event in events)
        backwards = enumerate(reversed(events))
        events = [Event(last + place * OUT_OF_ORDER_GAP, event.payload) for place, event in backwards]
    return [event for event in events for _ in range(2 if call.whims.webhook_twice else 1)]


class Postman:
    """Posts what is due. ``clock`` gives the outbox's time. Failed posts are tried again ``webhook_tries`` times.

    What is told about one call leaves in order, one post after the other, so that only the fault
    ``webhook_shuffled`` brings it out of order and not a busy machine.
    """

    def __init__(self, outbox: Outbox, clock: Callable[[], float], ledger: Callable[[], Ledger]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._ledger = ledger
        self._news = asyncio.Event()
        self._open = asyncio.Semaphore(OPEN_AT_ONCE)
        self._latest: dict[str, asyncio.Task[None]] = {}  # by call

    def wake(self) -> None:
        """Something was planned that may be due earlier than all else."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        import httpx  # costs 0.1 s; only a sandbox with webhooks pays it

        from campaign.providers.transport import DirectTransport

        transport = DirectTransport(httpx.create_ssl_context(trust_env=False), connections=OPEN_AT_ONCE)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client, asyncio.TaskGroup() as posts:

            async def post(item: Delivery) -> int:
                async with asyncio.timeout(POST_TIMEOUT):
                    return (await client.post(item.url, content=item.body, headers=item.headers)).status_code

            while True:
                for item in self._outbox.take(self._clock()):
                    self._follow(posts.create_task(self._in_turn(item, post, self._latest.get(item.call))), item.call)
                await self._rest()

    async def _rest(self) -> None:
        """Until the next event is due or something new is planned."""
        self._news.clear()
        due = self._outbox.next_at()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), None if due is None else max(due - self._clock(), 0.001))

    def _follow(self, task: asyncio.Task[None], call: str) -> None:
        self._latest[call] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._latest.get(call) is done:
                del self._latest[call]

        task.add_done_callback(forget)

    async def _in_turn(self, item: Delivery, post: Post, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._deliver(item, post)

    async def _deliver(self, item: Delivery, post: Post) -> None:
        async with self._open:
            for attempt in range(self._outbox.options.webhook_tries):
                if attempt:
                    await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
                try:
                    status = await post(item)
                except _no_answer():
                    self._ledger().webhooks["unreachable"] += 1
                    continue
                self._ledger().webhooks[f"answered {status}"] += 1
                if status < 300:
                    self._ledger().webhooks["delivered"] += 1
                    return
            self._ledger().webhooks["given up"] += 1


def _no_answer() -> tuple[type[Exception], ...]:
    import httpx

    return TimeoutError, httpx.TransportError, httpx.InvalidURL
