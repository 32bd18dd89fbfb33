"""The event loop of a worker process: on a thread of its own, and ahead of other work where that is allowed."""

import asyncio
import os
import threading
from contextlib import suppress

LOWEST = 1
"""Of the real-time priorities: ahead of all ordinary work, behind whatever else was made to go first."""


def start() -> asyncio.AbstractEventLoop:
    """A running loop. Calls leave from it at their start times, and on a busy machine a thread that is ready waits for
    a processor nearly as long as it computes."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=_run, args=(loop,), name="calls", daemon=True).start()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    _go_first()
    loop.run_forever()


def _go_first() -> None:
    """Only this thread: the threads that it starts, for the database, go with all others. It takes root, CAP_SYS_NICE
    or RLIMIT_RTPRIO; without, calls leave a little later and the pace is a little lower."""
    with suppress(AttributeError, OSError):  # not Linux, not allowed
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(LOWEST))
