"""What the preloaded process forks is a process of its own, also where several threads ask at once."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.forked import Forked, fork
from tests.chaos.processes import hit

WITHIN = 30.0
VERSION = ["--version"]


def start(folder: Path, name: str, *arguments: str, **environment: str) -> Forked:
    return fork(arguments, environment, folder, folder / f"{name}.log")


def test_several_threads_may_ask_at_once_and_each_learns_how_its_own_ended(tmp_path: Path) -> None:
    # Given commands of which every other one cannot work, When several threads start them at once
    words = [VERSION if i % 2 else ["no-such-command"] for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        forked = list(pool.map(lambda i: start(tmp_path, str(i), *words[i]), range(6)))
        codes = list(pool.map(lambda one: one.wait(WITHIN), forked))
    # Then each is a process, and has ended and said what it had to say by itself
    assert len({one.pid for one in forked}) == 6
    assert codes == [2, 0, 2, 0, 2, 0]
    said = [(tmp_path / f"{i}.log").read_text() for i in range(6)]
    assert all(("no-such-command" in text) == (i % 2 == 0) for i, text in enumerate(said)), said


def test_it_has_its_own_session_folder_and_environment_and_nothing_else(tmp_path: Path) -> None:
    # Given one that runs
    (tmp_path / "apart.py").write_text(APART)
    one = start(tmp_path, "beat", "-A", "apart", "beat", PYTHONPATH=str(tmp_path))
    try:
        written = tmp_path / "environment"
        while one.wait(0.1) is None and not written.exists():
            pass
        # Then it is what it says
        assert written.read_text().split() == [str(one.pid), str(tmp_path), "PYTHONPATH"]
    finally:
        hit(one.pid, signal.SIGKILL)
    # And it is told how it ended
    assert one.wait(WITHIN) == -signal.SIGKILL


APART = """
import os
from pathlib import Path
from celery import Celery

app = Celery("apart", broker="memory://")
Path("writing").write_text(f"{os.getsid(0)} {os.getcwd()} {' '.join(os.environ)}")
os.rename("writing", "environment")
"""
