"""What the work of one process needs of its outside: database, pace, clock, and a way to say that it must stop."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from campaign.domain.clock import Clock
from campaign.domain.pace import Throttle
from campaign.policies.looking import LookRules
from campaign.services.recorder import Recorder
from campaign.storage.engine import Store


@dataclass(slots=True)
class Outside:
    """``rules`` are by line name, ``new_ref`` makes 32 hex digits, ``in_thread`` runs a function off the event loop,
    ``connections`` is the most requests of one line that may be open at once."""

    store: Store
    throttle: Throttle
    clock: Clock
    recorder: Recorder
    rules: Mapping[str, LookRules]
    new_ref: Callable[[], str]
    in_thread: Callable[..., Awaitable[Any]]
    stopping: Callable[[], bool]
    connections: int = 1000

    def rounds(self, seconds: float) -> Iterator[None]:
        """One round after another until ``seconds`` are over or the process must stop."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until and not self.stopping():
            yield
