"""GCRA with reservation, pure: the twin of the script that runs in Redis, and the numbers both use."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from campaign.domain.pace import Want

UNDER_THE_LIMIT = 0.975
"""The pace aimed at, as a share of the limit: what jitter between a start time and the wire may eat."""

HORIZON = 0.5
"""Seconds ahead for which start times are given out. Also the silence after the buckets were lost: by then every
start time that the lost buckets had promised has passed, so a flush can never double the pace."""

FENCEPOST_BELOW = 100.0
"""Calls per second below which one call more in a sliding second is allowed (both ends of the second may be met)."""

SAFETY = 0.5
"""The share of the lateness that arithmetic allows which we use. The other half is left to what comes after our last
look at the clock: a processor that is taken from us, the network, the provider's own reading, and two workers' readings
of the shared clock. With 0.65 eight processes on two cores were seen to send 1,002 calls in a second of 1,000."""

MOST_LATE = 0.25


def lateness_allowed(limit: float) -> float:
    """Seconds after its start time at which a request no longer leaves but asks for another.

    With starts 1/(0.975 limit) apart and each late by at most d, a sliding second holds at most (1 + d) 0.975 limit + 1
    of them; d is what keeps that within the limit, or within one more where a fencepost is allowed.
    """
    if limit < FENCEPOST_BELOW:
        most = (floor(limit) + 1.0) / aimed(limit) - 1.0
    else:
        most = (limit - 1.0) / aimed(limit) - 1.0
    return min(MOST_LATE, most * SAFETY)


def too_late(limit: float) -> float:
    """Seconds after its start time from which a request that has left may have made some second one too full.

    It is made good by leaving out a start time within the second after it: then every window that it has slipped into
    holds one call fewer.
    """
    return lateness_allowed(limit) * (0.5 + SAFETY / 2) / SAFETY


def aimed(limit: float) -> float:
    """Calls per second to aim at for a limit that must never be exceeded in any sliding second."""
    return limit * UNDER_THE_LIMIT


@dataclass(frozen=True, slots=True)
class Grant:
    """``times`` pairs the index of a want with a start time; ``buckets`` are the next free times afterwards."""

    times: tuple[tuple[int, float], ...]
    buckets: dict[str, float]
    retry_at: float | None


def reserve(
    buckets: dict[str, float], line: str, rate: float, wants: Sequence[Want], now: float, horizon: float = HORIZON
) -> Grant:
    """Give out start times up to ``now + horizon``. ``rate`` and every want's ``limit`` are already the aimed ones.

    Each slot of the line goes to the group that has waited longest for one; where every group with calls left must
    itself wait, the line's next slot moves to the first moment one may.
    """
    free = dict(buckets)
    end = now + horizon
    at = _free_from(free.get(line), 1.0 / rate, now, end)
    ready = [_free_from(free.get(w.key), 1.0 / w.limit, now, end) if w.limit else now for w in wants]
    left = [want.count for want in wants]
    times: list[tuple[int, float]] = []
    while any(left):
        index = min((i for i in range(len(wants)) if left[i]), key=lambda i: ready[i])
        slot = max(at, ready[index])
        if slot >= end:
            break
        times.append((index, slot))
        left[index] -= 1
        at = slot + 1.0 / rate
        limit = wants[index].limit
        ready[index] = slot + (1.0 / limit if limit else 0.0)
    free[line] = at
    free.update({want.key: ready[i] for i, want in enumerate(wants) if want.limit})
    waiting = [max(at, ready[i]) for i in range(len(wants)) if left[i]]
    return Grant(tuple(times), free, min(waiting) - horizon if waiting else None)


def room(stored: float | None, rate: float, now: float, horizon: float = HORIZON) -> tuple[int, float]:
    """How many start times :func:`reserve` would give to a group without a limit of its own, and from when it would
    give the next where that is none. ``stored`` is the line's bucket."""
    end = now + horizon
    at = _free_from(stored, 1.0 / rate, now, end)
    return ceil((end - at) * rate) if at < end else 0, max(now, at - horizon)


def _free_from(stored: float | None, step: float, now: float, end: float) -> float:
    """A lost bucket starts at ``end``. None lies further ahead than the last slot before ``end`` can have left it: one
    that does is of a slower limit, or of a clock that was set back."""
    return end if stored is None else max(now, min(stored, end + step))
