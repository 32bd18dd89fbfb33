"""Arming failpoints from the environment, for tests: ``CAMPAIGN_FAILPOINT=name=kill|raise|delay[:seconds][@n]``.

``@n`` arms the n-th passage in each process only (1 is the first); ``@once:PATH`` the first passage of all processes,
which leaves the file PATH behind, so that a child that is started anew is not killed again. Commas separate several.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping

from campaign.domain.errors import UsageFault
from campaign.domain.failpoints import arm

VARIABLE = "CAMPAIGN_FAILPOINT"


class FailpointReached(RuntimeError):
    """Raised where a test asked for it."""


def arm_from_environment(environ: Mapping[str, str]) -> None:
    for word in filter(None, environ.get(VARIABLE, "").split(",")):
        name, _, action = word.partition("=")
        action, _, when = action.partition("@")
        arm(name, _when(_action(action), when))


def _when(action: Callable[[], None], when: str) -> Callable[[], None]:
    kind, _, path = when.partition(":")
    if kind == "once":
        return _once(action, path)
    return _on_passage(action, int(when) if when else None)


def _once(action: Callable[[], None], path: str) -> Callable[[], None]:
    def first_of_all() -> None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        action()

    return first_of_all


def _on_passage(action: Callable[[], None], passage: int | None) -> Callable[[], None]:
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if passage is None or seen == passage:
            action()

    return count


def _action(word: str) -> Callable[[], None]:
    kind, _, seconds = word.partition(":")
    match kind:
        case "kill":
            return lambda: os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            return _raise
        case "delay":
            return lambda: time.sleep(float(seconds or 1.0))
    raise UsageFault(f"{VARIABLE}: {word} is not an action; write kill, raise or delay:SECONDS")


def _raise() -> None:
    raise FailpointReached("a failpoint was reached")
