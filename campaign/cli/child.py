"""One process that a command starts beside itself and stops again."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign.domain.errors import OutOfReach

READY_WITHIN = 60.0
STOP_WITHIN = 75.0
LOG_LIMIT = 20 * 1024 * 1024


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


def trim(log: Path) -> None:
    """A log that has grown large becomes LOG.1, and the old LOG.1 goes. Its writer appends, and so goes on from 0."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)
    except OSError:
        return
