"""Start times given out ahead, pure: the twin of the script that runs in Redis. All times are whole microseconds.

A line's starts are one step apart (GCRA). The start times of its last second and ahead are noted too, and moved or
crossed out as workers tell what came of them. So it is known how many calls each sliding second holds or will hold, and
a quick line makes up for start times that nobody asked for or that were not used:

* The next ones come closer while the second before them holds fewer than it may.
* Who tells of an unused one gets another in its place, between those that were given. That is later than the unused
  one and, as long as less than a second lies between the unused one and the last that was given, it lies in no second
  that is full already: one that held the unused one holds it instead, and one that begins later goes on beyond the
  last, where what is given out next will be counted against it.
"""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from campaign.domain.pace import Correction, Want
from campaign.policies.pacing import HORIZON, SECOND, Spacing, spacing

AHEAD = round(HORIZON * SECOND)


@dataclass(frozen=True, slots=True)
class Books:
    """What is remembered between two askings. ``free`` are the next free times of the line and its groups by key.

    ``given`` are the line's start times of the last second and ahead, in order; ``since`` is the first since the line
    was last idle for a second. ``again`` is the next time for one in the place of another.
    """

    free: Mapping[str, int] = field(default_factory=dict)
    given: tuple[int, ...] = ()
    since: int | None = None
    again: int = 0


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
    given: list[int]
    since: int | None
    again: int
    unused: int = 0

    def correct(self, corrections: Sequence[Correction], now: int) -> None:
        last = max([now, *self.given[-1:]])
        for mark, late in corrections:
            if mark not in self.given:
                continue
            self.given.remove(mark)
            if late is not None:
                self.note(mark + late)
            elif mark > last - SECOND and self.spacing.in_place:
                self.unused += 1
        self.given = [at for at in self.given if at > now - SECOND]
        self.since = self.since if self.given else None

    def note(self, at: int) -> int:
        """No two are noted at the same microsecond; returns the time that was."""
        while at in self.given:
            at += 1
        insort(self.given, at)
        return at

    def in_place(self, now: int) -> int | None:
        """The time of one that may be given in the place of an unused one."""
        at = max(now, self.again)
        return at if self.unused and self.given and at < self.given[-1] else None

    def give_in_place(self, at: int) -> int:
        self.unused -= 1
        self.again = at + (self.spacing.in_place or 0)
        return self.note(at)

    def first(self) -> int:
        """The earliest time after all others that may be given."""
        most = self.spacing.most
        return self.free if len(self.given) < most else max(self.free, self.given[-most] + SECOND)

    def give(self, slot: int) -> None:
        self.since = slot if self.since is None else self.since
        self.note(slot)
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
    times = [*_in_place(row, groups, now), *_after_all_others(row, groups, now + AHEAD)]
    waiting = [max(row.first(), ready) for left, ready in zip(groups.left, groups.ready, strict=True) if left]
    limited = {want.key: ready for want, ready in zip(wants, groups.ready, strict=True) if want.limit}
    after = Books({**books.free, **limited, line: row.free}, tuple(row.given), row.since, row.again)
    return Grant(tuple(times), after, min(waiting) - AHEAD if waiting else None)


def _in_place(row: _Line, groups: _Groups, now: int) -> Iterator[tuple[int, int]]:
    while (at := row.in_place(now)) is not None and (index := groups.next()) is not None and groups.ready[index] <= at:
        slot = row.give_in_place(at)
        groups.give(index, slot)
        yield index, slot


def _after_all_others(row: _Line, groups: _Groups, end: int) -> Iterator[tuple[int, int]]:
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
    if stored is None or any(at > now + AHEAD for at in books.given[-1:]):
        return _Line(apart, now + apart.opening, [], None, 0)
    furthest = (AHEAD if books.given else apart.opening) + apart.step
    row = _Line(apart, _no_further(stored, furthest, now), list(books.given), books.since, books.again)
    row.correct(corrections, now)
    return row


def _no_further(free: int, furthest: int, now: int) -> int:
    """A free time that lies further ahead than books just opened, or the last slot before the horizon, can have left
    it, is of a slower limit."""
    return max(now, min(free, now + furthest))
