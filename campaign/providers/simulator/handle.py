"""Holding a simulator from outside: started in a thread or as a process, asked and told over its control API."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from campaign.domain.errors import OutOfReach, UsageFault
from campaign.providers.simulator.ledger import LedgerReport
from campaign.providers.simulator.options import SimulatorOptions
from campaign.providers.simulator.server import Simulator

PACKAGE_ROOT = Path(__file__).resolve().parents[3]
STOP_WITHIN = 10.0
ANSWER_WITHIN = 60.0
_OPENER = build_opener(ProxyHandler({}))

More = Literal["numbers", "calls", "arrivals"]


class SimulatorHandle:
    """A running simulator. Every method blocks until it has answered: not for the event loop that it runs on."""

    pid: int | None = None
    """Of the simulator's own process, where it has one."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._token = token

    def ledger(self, *details: More, number: str | None = None) -> LedgerReport:
        """The ground truth, with ``details`` filled in; ``number`` limits the calls shown to one number."""
        query = [("detail", detail) for detail in details] + ([("number", number)] if number else [])
        return LedgerReport.model_validate(self._ask("GET", "ledger", query=query))

    def reset(self) -> None:
        """An empty ledger. Options and faults stay."""
        self._ask("DELETE", "ledger")

    def configure(self, **words: Any) -> None:
        """Changes options by name, as SimulatorOptions takes them. Raises UsageFault with the server's sentence."""
        self._ask("POST", "configure", words)

    def add_fault(self, rule: str | Mapping[str, Any]) -> str:
        """The fault's id. Raises UsageFault."""
        return str(self._ask("POST", "faults", [rule if isinstance(rule, str) else dict(rule)])["ids"][0])

    def faults(self) -> list[dict[str, Any]]:
        """Every rule in force, with ``struck``, how often it has struck."""
        return list(self._ask("GET", "faults")["faults"])

    def remove_fault(self, fault_id: str) -> None:
        self._ask("DELETE", f"faults/{fault_id}")

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def down(self, seconds: float) -> None:
        """From now on, for ``seconds``, nobody can connect."""
        self._ask("POST", "down", {"seconds": seconds})

    def healthy(self) -> bool:
        try:
            return bool(self._ask("GET", "health")["ok"])
        except OutOfReach:
            return False

    def stop(self) -> None:
        """Ends it; the context manager that gave the handle does the same."""
        raise NotImplementedError

    def _ask(self, method: str, noun: str, body: Any = None, query: list[tuple[str, str]] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.url}/control/{noun}" + (f"?{urlencode(query)}" if query else "")
        try:
            with _OPENER.open(Request(url, data, headers, method=method), timeout=ANSWER_WITHIN) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            with error:
                raise UsageFault(json.load(error).get("error", "the sandbox refused")) from None
        except OSError:
            raise OutOfReach(f"the sandbox at {self.url} does not answer") from None


class _ThreadHandle(SimulatorHandle):
    """A simulator on an event loop of its own, in a daemon thread of this process."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._ready = threading.Event()
        self._fault: Exception | None = None
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            raise self._fault
        super().__init__(self._simulator.url, _token(options))

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(STOP_WITHIN)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as fault:  # noqa: BLE001 - told to the thread that waits for it
            self._fault = fault
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        self._simulator = Simulator(self._options)
        await self._simulator.start()
        self._ready.set()
        await self._done.wait()
        await self._simulator.stop()


class _ProcessHandle(SimulatorHandle):
    """A simulator in a process of its own, which ends with this one however this one ends."""

    def __init__(self, options: SimulatorOptions) -> None:
        command = [sys.executable, "-m", "campaign.providers.simulator", "--options", "-", "--announce", "--until-eof"]
        path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(plain_words(options)).encode() + b"\n")
        self._process.stdin.flush()
        announced = self._process.stdout.readline()
        if not announced:
            self.stop()
            raise OutOfReach(f"the sandbox did not start on {options.host}:{options.port}; its reason is above")
        said = json.loads(announced)
        self.pid = int(said["pid"])
        super().__init__(said["url"], _token(options))

    def stop(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def plain_words(options: SimulatorOptions) -> dict[str, Any]:
    """The options as JSON takes them, secrets in the clear: for the pipe to the simulator's own process only."""
    words: dict[str, Any] = json.loads(options.model_dump_json(exclude_unset=True))
    words |= {"keys": {dialect: secret.get_secret_value() for dialect, secret in options.keys.items()}}
    for dialect, target in options.webhooks.items():
        if target.secret is not None:
            words["webhooks"][dialect]["secret"] = target.secret.get_secret_value()
    if options.control_token is not None:
        words["control_token"] = options.control_token.get_secret_value()
    return words


def _token(options: SimulatorOptions) -> str | None:
    return None if options.control_token is None else options.control_token.get_secret_value()


@contextmanager
def running_simulator(options: SimulatorOptions | None = None) -> Iterator[SimulatorHandle]:
    """A simulator in this process, on a free port unless ``options`` say otherwise, until the block ends."""
    handle = _ThreadHandle(options or SimulatorOptions(port=0))
    try:
        yield handle
    finally:
        handle.stop()


@contextmanager
def simulator_process(options: SimulatorOptions | None = None) -> Iterator[SimulatorHandle]:
    """The same in a process of its own: for load, and for tests that kill what calls it."""
    handle = _ProcessHandle(options or SimulatorOptions(port=0))
    try:
        yield handle
    finally:
        handle.stop()
