"""Named places where a test may kill, raise or wait. Nothing happens at them unless an edge has armed one.

Every name is listed here, so that a test can walk them all; :func:`reach` refuses a name that is not.
"""

from collections.abc import Callable

NAMES = (
    "claim.before_commit",
    "claim.after_commit",
    "send.before_sending_commit",
    "send.after_sending_commit",
    "send.before_request",
    "send.after_answer",
    "record.before_commit",
    "record.after_commit",
    "poll.after_take",
    "poll.after_answer",
    "settle.after_take",
    "settle.after_look",
    "intake.after_batch",
    "intake.before_publish",
    "intake.after_publish",
    "retry.before_commit",
    "retry.after_commit",
    "erase.before_commit",
    "erase.after_commit",
)

_armed: dict[str, Callable[[], None]] = {}


def reach(name: str) -> None:
    """Run what is armed at ``name``, if anything."""
    if _armed:
        if name not in NAMES:
            raise ValueError(f"no failpoint is called {name}")
        action = _armed.get(name)
        if action is not None:
            action()


def arm(name: str, action: Callable[[], None]) -> None:
    """From now on ``action`` runs whenever ``name`` is reached in this process."""
    if name not in NAMES:
        raise ValueError(f"no failpoint is called {name}; known: {', '.join(NAMES)}")
    _armed[name] = action


def disarm_all() -> None:
    _armed.clear()
