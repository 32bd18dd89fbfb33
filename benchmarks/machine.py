"""The machine that is measured on: its cores, what its processes have used of them, and what runs on it."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("celery", "redis", "httpx", "httptools", "SQLAlchemy", "psycopg", "requests", "gevent")
_TICKS = os.sysconf("SC_CLK_TCK")


def cores() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0))


def client_core() -> set[int]:
    """Where a worker with one process, and the bare client, are pinned."""
    return {cores()[0]}


def provider_core() -> set[int]:
    """Where the simulator is pinned: the last core, which is the client's own where there is but one."""
    return {cores()[-1]}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of all its living descendants."""
    return sum(_used(each) for each in (pid, *_descendants(pid)))


def pin(pid: int, to: set[int]) -> None:
    """A process, its threads and all its living descendants."""
    for each in (pid, *_descendants(pid)):
        for task in Path(f"/proc/{each}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), to)


def describe() -> list[str]:
    """One sentence each, for the README: nothing in them tells whose machine it is."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"{len(cores())} cores, {_processor()}, {platform.system()}",
        f"Python {platform.python_version()}; {', '.join(_versions())}; {', '.join(_servers())}",
        f"load average when it began: {load}",
    ]


def _used(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from _descendants(child)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def _servers() -> Iterator[str]:
    """Their own words for it: ``Redis server v=7.0.15 …``, ``postgres (PostgreSQL) 15.18``."""
    programs = {"Redis": shutil.which("redis-server"), "PostgreSQL": shutil.which("postgres", path=_server_path())}
    for name, program in programs.items():
        if program is not None:
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            yield f"{name} {next(word for word in said.replace('v=', '').split() if word[0].isdigit())}"


def _server_path() -> str:
    """PATH, and where Debian keeps what it does not put there."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
