"""A clock that tells the time it is told. Used instead of sleeping, everywhere."""


class FakeClock:
    def __init__(self, start: float = 1_795_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """The wall clock jumps; no time has passed."""
        self._now += seconds
