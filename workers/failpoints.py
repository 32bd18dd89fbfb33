"""Arming failpoints from the environment, for tests: ``CAMPAIGN_FAILPOINT=name=kill|raise|delay[:seconds][@n]``.

``@n`` arms the n-th passage only (1 is the first). Several are separated by commas.
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
        action, _, passage = action.partition("@")
        arm(name, _on_passage(_action(action), int(passage) if passage else None))


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
