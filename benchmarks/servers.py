"""Real servers on loopback for one benchmark: Redis, a PostgreSQL that keeps its promises, the simulator."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from benchmarks import machine
from campaign.providers.simulator.handle import SimulatorHandle, simulator_process
from campaign.providers.simulator.options import SimulatorOptions
from tests.servers import PostgresServer, RedisServer


class DurablePostgres(PostgresServer):
    """The tests' cluster gives up fsync; a benchmark that did would flatter us."""

    def _command(self) -> Sequence[str]:
        durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
        flags = [word for key, value in durable.items() for word in ("-c", f"{key}={value}")]
        return [*super()._command(), *flags]


@dataclass(frozen=True, slots=True)
class Servers:
    """``broker(n)`` is the n-th of Redis's databases, so that contenders share nothing."""

    redis: RedisServer
    postgres: PostgresServer
    simulator: SimulatorHandle
    folder: Path

    def broker(self, number: int) -> str:
        return self.redis.url.rsplit("/", 1)[0] + f"/{number}"

    def sqlite(self, name: str) -> str:
        folder = self.folder / name
        folder.mkdir()
        return f"sqlite:///{folder / 'campaign.sqlite'}"


@contextmanager
def all_servers() -> Iterator[Servers]:
    """Raises ServerMissing with the remedy where Redis or PostgreSQL is not installed."""
    with ExitStack() as stack:
        folder = Path(mkdtemp(prefix="campaign-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis, postgres = RedisServer(), DurablePostgres()
        for server in (redis, postgres):
            stack.callback(server.remove)
            server.start()
        simulator = stack.enter_context(simulator_process(SimulatorOptions(port=0, keep_calls=1_000_000)))
        assert simulator.pid is not None, "the simulator is a process of its own"
        os.sched_setaffinity(simulator.pid, machine.provider_core())
        yield Servers(redis, postgres, simulator, folder)
