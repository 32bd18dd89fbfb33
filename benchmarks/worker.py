"""A Celery worker as a child process, which ends when we do, however we end."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers import dies_with_us

ENDS_WITHIN = 20.0


class Worker:
    """``python -m celery`` with ``arguments``. What it says goes to ``log``."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                preexec_fn=dies_with_us(signal.SIGTERM),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def last_words(self) -> str:
        """The end of what it has said, for an exception's text."""
        return self._log.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)  # cold: Celery's main process takes its children with it
            self._process.wait(ENDS_WITHIN)
