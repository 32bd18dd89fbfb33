"""Start times given out ahead, pure: the twin of the script that runs in Redis. All times are whole microseconds.

A line's starts are one step apart (GCRA). Each is noted with the latest moment at which its call may have left, for as
long as a sliding second may hold it: where it left, once a worker has told; until then, on a quick line, as late as it
may leave at all. One that was not used is crossed out. A new start time comes a second after the latest of the last
``most`` at least, and never before another: so whichever second ends with it or later holds no more than it may,
however late the calls were, and a worker that dies before it tells costs a pause.

So it is known how many calls each second holds or may hold, and a quick line makes up for what was missed: its next
start times come closer while the second before them holds fewer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from campaign.domain.pace import Correction, Want
from campaign.policies.pacing import HORIZON, LATEST, SECOND, Spacing, spacing

AHEAD = round(HORIZON * SECOND)


@dataclass(frozen=True, slots=True)
class Books:
    """What is remembered between two askings. ``free`` are the next free times of the line and its groups by key.

    ``noted`` are the line's start times whose calls may have left in the last second, or are still to leave: the latest
    moment for that, and the start time itself, in order. ``since`` is the first since the line was last idle.
    """

    free: Mapping[str, int] = field(default_factory=dict)
    noted: tuple[tuple[int, int], ...] = ()
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """``times`` pairs the index of a want with a start time; ``books`` are those afterwards. ``retry_at`` is from when
    asking may give more, None where all was given."""

    times: tuple[tuple[int, int], ...]
    books: Books
    retry_at: int | None


@dataclass(slots=True)
class _Line:
    spacing: Spacing
    free: int
    noted: list[tuple[int, int]]
    since: int | None

    def correct(self, corrections: Sequence[Correction], now: int) -> None:
        told = dict(corrections)
        kept = [(latest, mark) for latest, mark in self.noted if mark not in told]
        left = [(mark + late, mark) for _, mark in self.noted if (late := told.get(mark)) is not None]
        self.noted = sorted(both for both in (*kept, *left) if both[0] > now - SECOND)
        self.since = self.since if self.noted else None

    def first(self) -> int:
        """The earliest time after all others that may be given."""
        most = self.spacing.most
        return self.free if len(self.noted) < most else max(self.free, self.noted[-most][0] + SECOND)

    def give(self, slot: int) -> None:
        self.since = slot if self.since is None else self.since
        self.noted.append((slot + self.spacing.late, slot))
        settled = slot >= self.since + SECOND  # before that a second holds fewer than it may and nothing was missed
        self.free = slot + (self.spacing.quick if settled else self.spacing.step)


@dataclass(slots=True)
class _Groups:
    """Those that want start times: ``left`` so many each, from ``ready`` on, ``own`` microseconds apart."""

    left: list[int]
    ready: list[int]
    own: list[int]

    def next(self) -> int | None:
        """Who has waited longest of those that want more."""
        wanting = [i for i, left in enumerate(self.left) if left]
        return min(wanting, key=lambda i: self.ready[i]) if wanting else None

    def give(self, index: int, slot: int) -> None:
        self.left[index] -= 1
        self.ready[index] = slot + self.own[index]


def reserve(
    books: Books, line: str, limit: float, wants: Sequence[Want], now: int, corrections: Sequence[Correction] = ()
) -> Grant:
    """Give out start times from ``now`` to the horizon, in order of time.

    Each goes to the group that has waited longest for one; where every group with calls left must itself wait, the
    line's next one moves to the first moment one may.
    """
    row = _opened(books, line, spacing(limit), now, corrections)
    groups = _grouped(books, wants, now)
    times = tuple(_given(row, groups, now + AHEAD))
    waiting = [max(row.first(), ready) for left, ready in zip(groups.left, groups.ready, strict=True) if left]
    limited = {want.key: ready for want, ready in zip(wants, groups.ready, strict=True) if want.limit}
    after = Books({**books.free, **limited, line: row.free}, tuple(sorted(row.noted)), row.since)
    return Grant(times, after, min(waiting) - AHEAD if waiting else None)


def _given(row: _Line, groups: _Groups, end: int) -> Iterator[tuple[int, int]]:
    while (index := groups.next()) is not None and (slot := max(row.first(), groups.ready[index])) < end:
        row.give(slot)
        groups.give(index, slot)
        yield index, slot


def _grouped(books: Books, wants: Sequence[Want], now: int) -> _Groups:
    own = [spacing(want.limit).step if want.limit else 0 for want in wants]
    free = [books.free.get(want.key, now + AHEAD) for want in wants]
    ready = [_no_further(at, AHEAD + step, now) if step else now for at, step in zip(free, own, strict=True)]
    return _Groups([want.count for want in wants], ready, own)


def _opened(books: Books, line: str, apart: Spacing, now: int, corrections: Sequence[Correction]) -> _Line:
    """Where one was given that lies beyond the horizon, the clock was set back: its books count as lost."""
    stored = books.free.get(line)
    if stored is None or any(latest > now + AHEAD + LATEST for latest, _ in books.noted[-1:]):
        return _Line(apart, now + apart.opening, [], None)
    furthest = (AHEAD if books.noted else apart.opening) + apart.step
    row = _Line(apart, _no_further(stored, furthest, now), list(books.noted), books.since)
    row.correct(corrections, now)
    return row


def _no_further(free: int, furthest: int, now: int) -> int:
    """A free time that lies further ahead than books just opened, or the last slot before the horizon, can have left
    it, is of a slower limit."""
    return max(now, min(free, now + furthest))
