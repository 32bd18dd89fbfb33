"""The Celery application. Its settings are in ``celeryconfig.py``; its tasks in :mod:`workers.tasks`."""

import os
from pathlib import Path

import billiard.pool  # type: ignore[import-untyped]
from celery import Celery
from celery.signals import (
    beat_init,
    setup_logging,
    worker_init,
    worker_process_shutdown,
    worker_shutdown,
    worker_shutting_down,
)

from campaign.runtime import read_settings
from workers import logs, preflight, process

# A process that ends waits until the parent has read what it said, 30 s at most, and now and then it waits all of them:
# the parent has stopped reading by then. Nobody waits for what our orders answer, and a deploy should not either.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

app = Celery("campaign", include=["workers.tasks"])
app.config_from_object("celeryconfig")


@setup_logging.connect
def _log_our_way(loglevel: int = 20, **_: object) -> None:
    logs.set_up(loglevel, read_settings(os.environ, Path.cwd()).log_format)


@worker_init.connect
def _check_before_work(**_: object) -> None:
    """In the parent, before it forks or takes an order."""
    preflight.or_exit(preflight.check_worker, os.environ, Path.cwd())


@beat_init.connect
def _check_before_ticks(**_: object) -> None:
    preflight.or_exit(preflight.check_beat, os.environ, Path.cwd())


@worker_shutting_down.connect
def _stop_claiming(**_: object) -> None:
    """In the parent, at the first signal; the flag is shared with the processes that it forked."""
    process.stopping.set()


@worker_process_shutdown.connect
def _drain_child(**_: object) -> None:
    """In each forked process, after its last order."""
    process.shut_down()


@worker_shutdown.connect
def _drain(**_: object) -> None:
    """In the parent: with the thread and solo pools this is where the orders ran."""
    process.shut_down()
