"""The fullest second of a story: what every limit of calls per second is held to."""

from bisect import bisect_left
from collections.abc import Sequence


def most_in_a_second(times: Sequence[float], second: float = 1.0) -> int:
    """Of all seconds that slide over ``times``, in whatever unit ``second`` of them are one. None is none."""
    ordered = sorted(times)
    return max((bisect_left(ordered, at + second) - i for i, at in enumerate(ordered)), default=0)
