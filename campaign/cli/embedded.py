"""What a command starts inside and stops after: the workers of one machine, and the sandbox where a line needs it.

A child reads our end of a pipe and ends when it closes, so a killed parent leaves nothing behind. It has a session of
its own: Ctrl-C reaches us alone, and we decide when it may go.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import campaign
from campaign.cli.command import Session
from campaign.cli.output import note
from campaign.cli.vitals import somebody_listens, workers_seen
from campaign.config import SANDBOX_URL, Settings
from campaign.domain.errors import CampaignError, OutOfReach

READY_WITHIN = 60.0
STOP_WITHIN = 75.0
LOCK = "embedded.lock"
LOG_LIMIT = 20 * 1024 * 1024
WORKERS = ("-m", "workers.embedded")
SANDBOX = ("-m", "campaign.providers.simulator", "--port", "0", "--announce", "--until-eof", "--time-scale", "20")
"""Twenty times as fast as people talk: a demonstration shows whole lives within a minute."""


class Child:
    """One process that lives as long as we do, and says one line of JSON when it is ready."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], folder: Path, log: Path) -> None:
        self.name, self.log = name, log
        trim(log)
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, env=dict(environ), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=sink, start_new_session=True,
            )  # fmt: skip

    def announced(self, within: float = READY_WITHIN) -> dict[str, Any]:
        """Its line. Raises OutOfReach with its own sentence, or with the log to read, where it does not come up."""
        line = self._first_line(time.monotonic() + within)
        try:
            said = json.loads(line)
        except ValueError:
            said = {}
        if isinstance(said, dict) and said and "error" not in said:
            return said
        self.stop()
        sentence = said.get("error") if isinstance(said, dict) else None
        raise OutOfReach(f"the {self.name} did not start: {sentence or f'see {self.log}'}")

    def _first_line(self, deadline: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        line = b""
        while not line.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([stdout], [], [], left)
            block = os.read(stdout.fileno(), 4096) if ready else b""
            if not block:
                break
            line += block
        return line

    @property
    def gone(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        """Lets it finish what is in the air. A second Ctrl-C while we wait ends it at once."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_WITHIN)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@dataclass
class Embedded:
    """The children of one command, in the order in which they were started."""

    session: Session
    children: list[Child] = field(default_factory=list)
    joined: bool = False  # another command of this machine runs the workers

    def start(self, lines: Sequence[str]) -> None:
        """Start what these lines need; the tables must be in place. Raises OutOfReach."""
        settings = self.session.settings
        logs = settings.home / "logs"
        try:
            logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutOfReach(f"the folder {logs} cannot be made ({error.strerror}); set CAMPAIGN_HOME") from None
        environ = child_environment(settings, self.session.environ)
        if self._sandbox_wanted(lines):
            sandbox = self._child("sandbox", SANDBOX, environ, logs / "sandbox.log")
            environ["CAMPAIGN_SANDBOX_URL"] = str(sandbox.announced()["url"])
        workers = self._child("embedded workers", WORKERS, environ, logs / "embedded.log")
        self.joined = bool(workers.announced().get("already"))
        if self.joined:
            self.children.remove(workers)
            workers.stop()

    def _child(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> Child:
        child = Child(name, command, environ, self.session.settings.home, log)
        self.children.append(child)
        return child

    def _sandbox_wanted(self, lines: Sequence[str]) -> bool:
        known = self.session.lines
        wanted = any(name in known and known[name].base_url.rstrip("/") == SANDBOX_URL for name in lines)
        return wanted and not _runs_already(self.session.settings.home) and not somebody_listens(SANDBOX_URL)

    def check(self) -> None:
        """Called now and then while waiting. Raises CampaignError where a child has ended by itself."""
        for child in self.children:
            if child.gone:
                raise CampaignError(
                    f"the {child.name} ended by themselves (exit code {child.exit_code}); {child.log} says why, "
                    "and `campaign up` goes on where they stopped"
                )
            trim(child.log)
        if self.joined and workers_seen(self.session.store) is None:
            self.joined = False
            self.start(list(self.session.lines))

    def stop(self) -> None:
        """The last started first: the sandbox must outlive the workers that talk to it."""
        while self.children:
            self.children.pop().stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt and self.children:
            note("Stopping: what is in the air is waited for and recorded. Ctrl-C again does not wait.")
        self.stop()


def _runs_already(home: Path) -> bool:
    """Whether another command's workers hold the lock; they have their own sandbox."""
    import fcntl

    try:
        with (home / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def child_environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Our environment with the settings as they were resolved here, so that the child reads no file but the lines'."""
    told = {
        "CAMPAIGN_HOME": str(settings.home),
        "CAMPAIGN_DATABASE_URL": _from_anywhere(settings.database_url),
        "CAMPAIGN_LINES": str(settings.lines_path) if settings.lines_path else "",
        "CAMPAIGN_REGION": settings.region or "",
        "CAMPAIGN_LOG_FORMAT": settings.log_format,
        "CAMPAIGN_SANDBOX_URL": settings.sandbox_url,
        "PYTHONPATH": os.pathsep.join([_source_folder(), *filter(None, [environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
    }
    return {**environ, **told}


def _from_anywhere(database_url: str) -> str:
    """A relative SQLite path starts from our folder, and the child works in another."""
    scheme, _, path = database_url.partition(":///")
    if scheme.startswith("sqlite") and path and not path.startswith((":", "file:")):
        return f"{scheme}:///{Path.cwd() / path}"
    return database_url


def _source_folder() -> str:
    assert campaign.__file__ is not None
    return str(Path(campaign.__file__).resolve().parent.parent)


def trim(log: Path) -> None:
    """A log that has grown large becomes LOG.1, and the old LOG.1 goes. Its writer appends, and so goes on from 0."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            log.with_name(f"{log.name}.1").write_bytes(log.read_bytes())
            os.truncate(log, 0)
    except OSError:
        return
