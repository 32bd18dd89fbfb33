"""What a command starts inside and stops after: the workers of one machine, and the sandbox where a line needs it.

A child reads our end of a pipe and ends when it closes, so a killed parent leaves nothing behind. It has a session of
its own: Ctrl-C reaches us alone, and we decide when it may go.
"""

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import campaign
from campaign.cli.child import Child, trim
from campaign.cli.command import Session
from campaign.cli.output import note
from campaign.cli.vitals import somebody_listens, workers_seen
from campaign.config import SANDBOX_URL, Settings
from campaign.domain.errors import CampaignError, NotPossible, OutOfReach

LOCK = "embedded.lock"
LAND_WITHIN = 10.0
"""Seconds: the longest call of the sandbox takes five at its pace here."""

WORKERS = ("-m", "workers.embedded")
SANDBOX = ("-m", "campaign.providers.simulator", "--port", "0", "--announce", "--until-eof", "--time-scale", "20")
"""Twenty times as fast as people talk: a demonstration shows whole lives within a minute."""


@dataclass
class Embedded:
    """The children of one command, in the order in which they were started."""

    session: Session
    children: list[Child] = field(default_factory=list)
    joined: bool = False  # another command of this machine runs the workers
    landing: list[str] = field(default_factory=list)  # campaigns that dial nothing new until we have stopped

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
        if not any(self._is_sandbox(name) for name in lines):
            return False
        return not _runs_already(self.session.settings.home) and not somebody_listens(SANDBOX_URL)

    def _is_sandbox(self, line: str) -> bool:
        known = self.session.lines.get(line)
        return known is not None and known.base_url.rstrip("/") == SANDBOX_URL

    def check(self) -> None:
        """Called now and then while waiting. Raises CampaignError where a child has ended by itself."""
        for child in self.children:
            if child.gone:
                raise CampaignError(
                    f"the {child.name} ended unexpectedly (exit code {child.exit_code}); {child.log} says why, "
                    "and `campaign up` goes on from there"
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
        try:
            if kind is KeyboardInterrupt and self.children:
                note("Stopping: what is in the air is waited for and recorded. Ctrl-C again does not wait.")
                self._land()
        finally:
            self.stop()
            self._as_they_were()

    def _land(self) -> None:
        """Our sandbox ends with us, and with it what it knows: let its calls end while somebody can still ask."""
        from campaign.services import campaigns, results

        if not any(child.name == "sandbox" for child in self.children):
            return
        store = self.session.store
        for view in campaigns.list_campaigns(store):
            if view.state == "running" and self._is_sandbox(view.line):
                campaigns.pause(store, view.name, "being interrupted")
                self.landing.append(view.name)
        deadline = time.monotonic() + LAND_WITHIN
        while time.monotonic() < deadline:
            if not any(results.summary(store, name)["attempts"]["live"] for name in self.landing):
                return
            time.sleep(0.2)

    def _as_they_were(self) -> None:
        from campaign.services import campaigns

        for name in self.landing:
            with suppress(NotPossible):  # somebody has canceled it meanwhile
                campaigns.resume(self.session.store, name)
        self.landing.clear()


def _runs_already(home: Path) -> bool:
    """Whether another command's workers hold the lock; they have their own sandbox."""
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
        "CAMPAIGN_ERASURE_KEY": settings.erasure_key.secret if settings.erasure_key else "",
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
