"""A process that has loaded what every worker loads, and forks one whenever it is told to: ``python -m
tests.chaos.preloaded``.

Loading takes a second or two of a processor, and the tests start hundreds of workers. What is forked has a process id,
a session, a folder, an environment and a log of its own and goes through ``python -m celery`` from its first line; only
the modules are there already. Those of ``workers`` are not among them: they make memory that a worker shares with the
processes that it forks, and with nobody else. It dies with us, and we with the process that asked for us.

Lines of JSON on stdin and stdout: ``{"start": {...}}`` is answered by the process id, ``{"poll": pid}`` by how it has
ended (as :class:`subprocess.Popen` tells it) or null while it runs.
"""

import gc
import json
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from typing import Any

import celery.apps.beat
import celery.apps.worker
import celery.bin.celery
import celery.worker.consumer
import kombu.transport.redis
import psycopg
import redis.asyncio
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite

import campaign.runtime
import campaign.services.settling
import campaign.services.ticking
import campaign.services.tracking
import campaign.services.upload_reading
import campaign.services.webhooks
import campaign.storage.migrate
from tests.servers import dies_with_us

LOADED = (celery, kombu, psycopg, redis, sqlalchemy, campaign)
"""Nobody calls them here. Who is forked finds them in memory."""


def main() -> None:
    """Returns in the processes that are forked; what they have to do is done outside of it, as at a fresh start."""
    ended: dict[int, int] = {}
    gc.freeze()  # what is loaded is nobody's garbage: its pages stay shared
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        if "start" in asked:
            answer: int | None = os.fork()
            if answer == 0:
                _become(asked["start"])
                return
        else:
            answer = _poll(int(asked["poll"]), ended)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    os._exit(0)


def _poll(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended.get(pid)


def _become(start: Mapping[str, Any]) -> None:
    os.setsid()
    if (die_with_us := dies_with_us(signal.SIGKILL)) is not None:
        die_with_us()
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(start["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for theirs, ours in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(theirs, ours)
    os.closerange(3, 1024)
    os.chdir(start["folder"])
    os.environ.clear()
    os.environ.update(start["environment"])
    sys.path[0] = start["folder"]
    sys.argv = ["celery", *start["arguments"]]


if __name__ == "__main__":
    main()
    runpy.run_module("celery", run_name="__main__", alter_sys=True)
