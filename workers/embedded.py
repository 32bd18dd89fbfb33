"""Everything one machine needs, inside one command: a broker, a worker and the tick, for as long as stdin is open.

``python -m workers.embedded`` prints one line of JSON when it is ready and ends when its stdin is closed, so a killed
parent leaves nothing behind. The broker is a Redis server written in Python (fakeredis): good enough for the hints of
one machine, because nothing depends on what it holds.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from fakeredis import TcpFakeServer

from campaign.config import make_erasure_key
from campaign.domain.errors import CampaignError
from campaign.runtime import checked_lines, read_settings

LOCK = "embedded.lock"
WORKER = ("-m", "celery", "-A", "workers", "worker", "--pool=threads", "--concurrency=8", "--beat")
QUEUES = "dial,poll,intake,control"
STOP_WITHIN = 60.0


class _Server(TcpFakeServer):
    """Without TCP_NODELAY each answer waits for a delayed acknowledgement: 44 ms a task instead of 15."""

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address


def main() -> int:
    try:
        settings = read_settings(os.environ, Path.cwd())
        checked_lines(settings, os.environ)
        settings.home.mkdir(parents=True, exist_ok=True)
        if settings.erasure_key is None:  # before a worker starts: the one that erases must not surprise it
            make_erasure_key(settings.home)
    except (CampaignError, OSError) as error:
        return _say({"error": str(error)}, 2)
    with (settings.home / LOCK).open("a+") as lock:
        if not _locked(lock):
            return _say({"ready": True, "already": True, **_written(lock)}, 0)
        return _serve(lock)


def _serve(lock: IO[str]) -> int:
    server = _Server(("127.0.0.1", 0), server_type="redis")
    threading.Thread(target=server.serve_forever, name="broker", daemon=True).start()
    about = {"broker": f"redis://127.0.0.1:{server.server_address[1]}/0", "pid": os.getpid()}
    _write(lock, about)
    worker = _start_worker(str(about["broker"]))
    _say({"ready": True, **about}, 0)
    _stop_on_signals()
    try:
        return _supervise(worker, str(about["broker"]))
    finally:
        server.shutdown()


def _supervise(worker: "subprocess.Popen[bytes]", broker: str) -> int:
    """Until stdin closes or a signal comes; a worker that dies meanwhile is started again."""
    ended = threading.Event()
    threading.Thread(target=_wait_for_eof, args=(ended,), daemon=True).start()
    try:
        while not ended.wait(0.5):
            if worker.poll() is not None:
                time.sleep(1.0)
                worker = _start_worker(broker)
    except _Stop:
        pass
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        worker.kill()
    return 0


class _Stop(Exception):
    """A signal asked us to end."""


def _stop_on_signals() -> None:
    def stop(*_: object) -> None:
        raise _Stop

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command in front; it closes our stdin


def _wait_for_eof(ended: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ended.set()


def _start_worker(broker: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "CAMPAIGN_BROKER_URL": broker}
    command = [
        sys.executable,
        *WORKER,
        "--queues",
        QUEUES,
        "--loglevel",
        "INFO",
        "--without-gossip",
        "--without-mingle",
    ]
    # A session of its own: Ctrl-C in the terminal must not reach it before we have asked it to finish.
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(lock: IO[str], about: Mapping[str, object]) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(json.dumps(about))
    lock.flush()


def _written(lock: IO[str]) -> dict[str, Any]:
    lock.seek(0)
    try:
        about = json.loads(lock.read() or "{}")
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _say(what: Mapping[str, object], code: int) -> int:
    print(json.dumps(what), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
