"""What the work of one process needs of its outside: database, pace, clock, and a way to say that it must stop."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from campaign.domain.clock import Clock
from campaign.domain.erasure import ErasureKey
from campaign.domain.pace import Throttle
from campaign.policies.looking import LookRules
from campaign.services.recorder import Recorder
from campaign.services.restoring import Memory
from campaign.storage.engine import Store


@dataclass(slots=True)
class Outside:
    """``rules`` are by line name, ``new_ref`` makes 32 hex digits, ``in_thread`` runs a function off the event loop,
    ``connections`` is the most requests of one line that may be open at once, ``erasure_key`` tells who was erased.
    ``memory`` is what this process is sure to have committed."""

    store: Store
    throttle: Throttle
    clock: Clock
    recorder: Recorder
    rules: Mapping[str, LookRules]
    new_ref: Callable[[], str]
    in_thread: Callable[..., Awaitable[Any]]
    stopping: Callable[[], bool]
    connections: int = 1000
    erasure_key: ErasureKey | None = None
    memory: Memory = field(default_factory=Memory)

    def rounds(self, seconds: float) -> Iterator[None]:
        """One round after another until ``seconds`` are over or the process must stop."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until and not self.stopping():
            yield
