"""The simulator on a socket: the edge that has clocks, randomness for ids, connections and webhooks out."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from hashlib import blake2b

from campaign.domain.errors import OutOfReach
from campaign.providers.simulator.arriving import listen
from campaign.providers.simulator.calls import Call
from campaign.providers.simulator.control import Control
from campaign.providers.simulator.desk import Desk, Instant
from campaign.providers.simulator.dialects.dialect import Dialect, as_uuid
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.webhooks import Outbox, Postman
from campaign.providers.simulator.wire import Answer, Connection, Request

BACKLOG = 4096

HANDING_OVER = 4
"""Rounds of the loop within which an accepted connection has become one of ours."""


class Simulator:
    """One simulator on one event loop, from :meth:`start` to :meth:`stop`. ``url`` has no slash at its end."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._epoch = time.time() - time.monotonic()  # so that the desk's time never steps
        self._salt = os.urandom(8)
        self.outbox = Outbox(options)
        self.desk = Desk(options, self._new_id, self._plan)
        self._control = Control(self)
        self._postman = Postman(self.outbox, self.now, lambda: self.desk.ledger)
        self._posting: asyncio.Task[None] | None = None
        self._peers: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._back: asyncio.TimerHandle | None = None
        self._port = options.port
        for rule in options.faults:
            self.desk.faults.add(rule, self.now())

    @property
    def url(self) -> str:
        host = self.desk.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def now(self) -> float:
        return self._epoch + time.monotonic()

    async def start(self) -> None:
        """Listens. Raises OutOfReach where the port is taken or the host is not this machine's."""
        host = self.desk.options.host
        loop = asyncio.get_running_loop()
        try:
            listener = await listen(host, self._port)
            self._server = await loop.create_server(
                lambda: Connection(self.respond, self._peers, lambda: listener.came), sock=listener, backlog=BACKLOG
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutOfReach(
                f"the sandbox cannot listen on {host}:{self._port}: {reason}; choose another port"
            ) from None
        self._port = self._server.sockets[0].getsockname()[1]
        self._post()

    async def stop(self) -> None:
        """Closes the port, every connection and the webhooks under way."""
        if self._back is not None:
            self._back.cancel()
        await self._close()
        if self._posting is not None:
            self._posting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._posting
        await asyncio.sleep(0)  # lets the connections notice

    def respond(self, request: Request, came: float) -> Answer:
        """``came`` is on the monotonic clock."""
        monotonic, wall = time.monotonic(), time.time()
        if request.path.startswith("/control/"):
            return self._control.answer(request, self._epoch + monotonic)
        return self.desk.answer(request, Instant(self._epoch + monotonic, came, wall - (monotonic - came)))

    def reset(self) -> None:
        self.desk.reset()
        self.outbox.clear()

    def configure(self, options: SimulatorOptions) -> None:
        """Everything but the faults takes effect from the next request on; new ``faults`` replace the old ones."""
        if options.faults != self.desk.options.faults:
            self.desk.faults.clear()
            for rule in options.faults:
                self.desk.faults.add(rule, self.now())
        self.outbox.options = options
        self.desk.configure(options)
        self._post()

    def go_down(self, seconds: float) -> None:
        """After the answer to this request: refuses connections and cuts those that are open, for ``seconds``."""
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, lambda: loop.create_task(self._fall(seconds)))

    async def _fall(self, seconds: float) -> None:
        await self._close()
        loop = asyncio.get_running_loop()
        self._back = loop.call_later(seconds, lambda: loop.create_task(self.start()))

    async def _close(self) -> None:
        """No new connection first: one that asyncio has accepted and not yet handed over when its server is closed
        would stay open, with nobody to answer it."""
        server, self._server = self._server, None
        if server is not None:
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            for _ in range(HANDING_OVER):
                await asyncio.sleep(0)
            server.close()
        for peer in list(self._peers):
            peer.reset()

    def _post(self) -> None:
        if self.desk.options.webhooks and self._posting is None:
            self._posting = asyncio.get_running_loop().create_task(self._postman.run())

    def _plan(self, dialect: Dialect, call: Call, now: float) -> None:
        if self.desk.options.webhooks:
            self.outbox.plan(dialect, call, now)
            self._postman.wake()

    def _new_id(self, serial: int) -> str:
        """Never the same twice, also over restarts with one seed."""
        return as_uuid(blake2b(serial.to_bytes(8), key=self._salt, digest_size=16).hexdigest())


def serve(options: SimulatorOptions, *, announce: bool = False, until_eof: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, or, with ``until_eof``, until SIGTERM or the end of standard input.

    ``announce`` writes one line of JSON with ``url`` and ``pid`` to standard output as soon as it listens; otherwise a
    sentence goes to standard error. Raises OutOfReach where it cannot listen.
    """
    # Calls by the hundred thousand, none in a cycle: looking for garbage is kept short, and among old calls rare.
    gc.set_threshold(5_000, 10_000, 100)
    asyncio.run(_serve(options, announce=announce, until_eof=until_eof))


async def _serve(options: SimulatorOptions, *, announce: bool, until_eof: bool) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    # Ctrl-C reaches a child as well as its parent, which may still have calls to finish and closes the pipe after.
    loop.add_signal_handler(signal.SIGINT, _ignore if until_eof else done.set)
    simulator = Simulator(options)
    await simulator.start()
    if until_eof:
        threading.Thread(target=_wait_for_eof, args=(loop, done), daemon=True).start()
    if announce:
        sys.stdout.write(json.dumps({"url": simulator.url, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
    else:
        sys.stderr.write(f"the sandbox listens on {simulator.url}; Ctrl-C ends it\n")
    await done.wait()
    await simulator.stop()


def _ignore() -> None:
    pass


def _wait_for_eof(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(done.set)
