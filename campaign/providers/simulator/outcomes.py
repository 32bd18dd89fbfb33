"""What becomes of a call: decided by seed, number and how many calls that number has had. Pure."""

import struct
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

from campaign.domain.dispositions import Disposition

DEFAULT_MIX: Mapping[Disposition, float] = {
    Disposition.ANSWERED: 55.0,
    Disposition.VOICEMAIL: 8.0,
    Disposition.BUSY: 10.0,
    Disposition.NO_ANSWER: 20.0,
    Disposition.REJECTED: 3.0,
    Disposition.INVALID_NUMBER: 2.0,
    Disposition.UNAVAILABLE: 1.0,
    Disposition.ERROR: 1.0,
}
"""Weights, not percentages: only their ratios matter."""

RING_SECONDS: Mapping[Disposition, tuple[float, float]] = {
    Disposition.ANSWERED: (3.0, 18.0),
    Disposition.VOICEMAIL: (20.0, 28.0),
    Disposition.BUSY: (0.5, 2.0),
    Disposition.NO_ANSWER: (25.0, 30.0),
    Disposition.REJECTED: (2.0, 8.0),
    Disposition.INVALID_NUMBER: (0.3, 1.0),
    Disposition.UNAVAILABLE: (1.0, 5.0),
    Disposition.CANCELED: (5.0, 20.0),
    Disposition.ERROR: (0.5, 3.0),
    Disposition.UNKNOWN: (1.0, 10.0),
}
"""Least and most seconds from the first ring until somebody answers or the call ends, before the time scale."""

TALK_SECONDS: Mapping[Disposition, tuple[float, float]] = {
    Disposition.ANSWERED: (5.0, 60.0),
    Disposition.VOICEMAIL: (4.0, 12.0),
}
"""Least and most seconds of talk, before the time scale; an outcome that is not named here has none."""

_SCALE = 2.0**-53


@dataclass(frozen=True, slots=True)
class Fate:
    """How one call goes. ``ring`` and ``talk`` are seconds before the time scale."""

    outcome: Disposition
    ring: float
    talk: float

    @property
    def answered(self) -> bool:
        return self.talk > 0


def uniforms(seed: int, *parts: object) -> tuple[float, float, float]:
    """Three numbers in [0, 1) that depend on nothing but ``seed`` and ``parts``."""
    text = "|".join(map(str, (seed, *parts)))
    words = struct.unpack("<QQQ", blake2b(text.encode(), digest_size=24).digest())
    return (words[0] >> 11) * _SCALE, (words[1] >> 11) * _SCALE, (words[2] >> 11) * _SCALE


class Dice:
    """Chooses fates. ``script`` names the outcomes of single numbers, call by call; the last one stays."""

    def __init__(
        self, seed: int, mix: Mapping[Disposition, float], script: Mapping[str, Sequence[Disposition]] | None = None
    ) -> None:
        self._seed = seed
        self._outcomes = [outcome for outcome, weight in mix.items() if weight > 0]
        self._bounds = list(accumulate(mix[outcome] for outcome in self._outcomes))
        self._script = dict(script or {})

    def fate(self, number: str, nth: int) -> Fate:
        """The fate of the ``nth`` call (from 1) to ``number``."""
        which, ring, talk = uniforms(self._seed, number, nth)
        scripted = self._script.get(number)
        outcome = scripted[min(nth, len(scripted)) - 1] if scripted else self._pick(which)
        return Fate(outcome, _between(RING_SECONDS[outcome], ring), _between(TALK_SECONDS.get(outcome), talk))

    def as_ordered(self, number: str, nth: int, outcome: Disposition) -> Fate:
        """The fate that ``nth`` call has when ``outcome`` is forced on it."""
        _, ring, talk = uniforms(self._seed, number, nth)
        return Fate(outcome, _between(RING_SECONDS[outcome], ring), _between(TALK_SECONDS.get(outcome), talk))

    def _pick(self, which: float) -> Disposition:
        return self._outcomes[bisect(self._bounds, which * self._bounds[-1], hi=len(self._bounds) - 1)]


def _between(bounds: tuple[float, float] | None, share: float) -> float:
    return 0.0 if bounds is None else bounds[0] + (bounds[1] - bounds[0]) * share
