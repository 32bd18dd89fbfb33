"""The real command, in a process of its own or in ours, in an empty folder, without this machine's configuration."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from campaign.cli.main import run
from campaign.domain.plan import Plan
from campaign.services import campaigns, uploads
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import ensure_schema, is_current
from tests.servers import dies_with_us

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = "phone,name\n+14155550100,Ada\n+14155550101,Bo\n+14155550102,Cy\n"


@dataclass
class Said:
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cli:
    """Runs commands in ``folder`` with ``environ``; stdin is not a terminal and is empty.

    Where ``apart``, each in a process of its own; else only those that are given an ``environ`` of their own.
    """

    folder: Path
    environ: dict[str, str]
    apart: bool = True
    running: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __call__(self, *words: str, environ: Mapping[str, str] | None = None, within: float = 90.0) -> Said:
        if self.apart or environ is not None:
            return self.process(*words, environ=environ, within=within)
        return self.inside(*words)

    def process(self, *words: str, environ: Mapping[str, str] | None = None, within: float = 90.0) -> Said:
        """The command as a person's shell runs it."""
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env={**self.environ, **(environ or {})}, text=True, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=within, preexec_fn=dies_with_us(signal.SIGKILL),
        )  # fmt: skip
        return Said(done.returncode, done.stdout, done.stderr)

    def inside(self, *words: str) -> Said:
        """The same in this process, which spares half a second of imports."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            for name in [name for name in os.environ if name.startswith("CAMPAIGN_")]:
                patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            code = run(list(words))
        return Said(code, out.getvalue(), err.getvalue())

    def start(self, *words: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """The same without waiting; killed when the test ends."""
        process = subprocess.Popen(
            self.command(*words), cwd=self.folder, env={**self.environ, **(environ or {})}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=dies_with_us(signal.SIGKILL),
        )  # fmt: skip
        self.running.append(process)
        return process

    @property
    def home(self) -> Path:
        return Path(self.environ["CAMPAIGN_HOME"])

    def campaigns(self) -> list[str]:
        """The names that the database of ``home`` holds; none where there is no database, or none with tables yet."""
        if not (self.home / "campaign.sqlite").exists():
            return []
        with self.store() as store:
            return [view.name for view in campaigns.list_campaigns(store)] if is_current(store) else []

    @contextmanager
    def store(self) -> Iterator[Store]:
        opened = open_store(f"sqlite:///{self.home / 'campaign.sqlite'}")
        yield opened
        opened.close()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "campaign", *words]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    folder, home = tmp_path / "here", tmp_path / "home"
    folder.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environ = {**kept, "HOME": str(tmp_path), "CAMPAIGN_HOME": str(home), "PYTHONPATH": str(ROOT)}
    made = Cli(folder, environ)
    yield made
    for process in made.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and a draft campaign ``recall`` on the line sandbox with three numbers."""
    folder = tmp_path_factory.mktemp("prepared")
    numbers = folder / "numbers.csv"
    numbers.write_text(NUMBERS)
    store = open_store(f"sqlite:///{folder / 'campaign.sqlite'}")
    ensure_schema(store)
    made = campaigns.create(store, "recall", "sandbox", Plan())
    with uploads.open_file(numbers) as source:
        received = uploads.receive(store, made.id, source, "numbers.csv", uploads.Reading())
    uploads.read_upload(store, received.id)
    store.close()
    return folder


@pytest.fixture
def recall(cli: Cli, prepared: Path) -> Cli:
    """A draft campaign ``recall`` on the line sandbox with three numbers."""
    cli.write("numbers.csv", NUMBERS)
    cli.home.mkdir()
    shutil.copy(prepared / "campaign.sqlite", cli.home / "campaign.sqlite")
    return cli
