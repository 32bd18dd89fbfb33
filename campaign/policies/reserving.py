"""Start times given out ahead, pure: the twin of the script that runs in Redis. All times are whole microseconds.

A line's starts are one step apart (GCRA). Each is noted with the latest moment at which its call may have left, for as
long as a sliding second may hold it: where it left, once a worker has told; until then, on a quick line, as late as it
may leave at all. One that was not used is crossed out. A new start time comes a second after the latest of the last
``most`` at least, and never before another: so whichever second ends with it or later holds no more than it may,
however late the calls were, and a worker that dies before it tells costs a pause.

So it is known how many calls each second holds or may hold, and a quick line makes up for what was missed: its next
start times come closer while the second before them holds fewer.

A group with a pace of its own has a row of the same kind beside the line's, and each of its starts is noted in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from campaign.domain.pace import Correction, Want
from campaign.policies.pacing import HORIZON, LATEST, SECOND, Spacing, spacing

AHEAD = round(HORIZON * SECOND)

Noted = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What is remembered of a line, or of a group with a pace of its own. ``free`` is its next free time.

    ``noted`` are its start times whose calls may have left in the last second, or are still to leave: the latest moment
    for that, and the start time itself, in order. ``since`` is the first since it was last idle.
    """

    free: int
    noted: Noted = ()
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What is remembered between two askings: a row by key for the line and for each group with a pace of its own."""

    rows: Mapping[str, Row] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """``times`` pairs the index of a want with a start time; ``books`` are those afterwards. ``retry_at`` is from when
    asking may give more, None where all was given."""

    times: tuple[tuple[int, int], ...]
    books: Books
    retry_at: int | None


@dataclass(slots=True)
class _Open:
    """A row from which start times are being given."""

    spacing: Spacing
    free: int
    noted: list[tuple[int, int]]
    since: int | None

    def first(self) -> int:
        """The earliest time after all others that may be given."""
        most = self.spacing.most
        return self.free if len(self.noted) < most else max(self.free, self.noted[-most][0] + SECOND)

    def give(self, slot: int) -> None:
        self.since = slot if self.since is None else self.since
        self.noted.append((slot + self.spacing.late, slot))
        settled = slot >= self.since + SECOND  # before that a second holds fewer than it may and nothing was missed
        self.free = slot + (self.spacing.quick if settled else self.spacing.step)

    def closed(self) -> Row:
        return Row(self.free, tuple(sorted(self.noted)), self.since)


@dataclass(slots=True)
class _Group:
    """``left`` start times are still wanted; ``last`` is when it got one, or now. ``row`` is its own pace's, if any."""

    left: int
    last: int
    row: _Open | None

    def ready(self) -> int:
        return self.last if self.row is None else self.row.first()

    def give(self, slot: int) -> None:
        self.left -= 1
        self.last = slot
        if self.row is not None:
            self.row.give(slot)


def reserve(
    books: Books, line: str, limit: float, wants: Sequence[Want], now: int, corrections: Sequence[Correction] = ()
) -> Grant:
    """Give out start times from ``now`` to the horizon, in order of time.

    Each goes to the group that has waited longest for one; where every group with calls left must itself wait, the
    line's next one moves to the first moment one may.
    """
    rows = _corrected(books.rows, line, corrections)
    opened = {line: _opened(rows.get(line), spacing(limit), now)}
    opened |= {want.key: _opened(rows.get(want.key), spacing(want.limit), now) for want in wants if want.limit}
    groups = [_Group(want.count, now, opened[want.key] if want.limit else None) for want in wants]
    times = tuple(_given(opened[line], groups, now + AHEAD))
    waiting = [max(opened[line].first(), group.ready()) for group in groups if group.left]
    after = Books({**rows, **{key: row.closed() for key, row in opened.items()}})
    return Grant(times, after, min(waiting) - AHEAD if waiting else None)


def _given(line: _Open, groups: Sequence[_Group], end: int) -> Iterator[tuple[int, int]]:
    while wanting := [i for i, group in enumerate(groups) if group.left]:
        index = min(wanting, key=lambda i: groups[i].ready())
        slot = max(line.first(), groups[index].ready())
        if slot >= end:
            return
        line.give(slot)
        groups[index].give(slot)
        yield index, slot


def _opened(stored: Row | None, apart: Spacing, now: int) -> _Open:
    """Where one was given that lies beyond the horizon, the clock was set back: the row counts as lost."""
    if stored is None or any(latest > now + AHEAD + LATEST for latest, _ in stored.noted[-1:]):
        return _Open(apart, now + apart.opening, [], None)
    furthest = (AHEAD if stored.noted else apart.opening) + apart.step
    noted = [both for both in stored.noted if both[0] > now - SECOND]
    return _Open(apart, _no_further(stored.free, furthest, now), noted, stored.since if noted else None)


def _no_further(free: int, furthest: int, now: int) -> int:
    """A free time that lies further ahead than a row just opened, or the last slot before the horizon, can have left
    it, is of a slower limit."""
    return max(now, min(free, now + furthest))


def _corrected(rows: Mapping[str, Row], line: str, corrections: Sequence[Correction]) -> Mapping[str, Row]:
    """Each in the line's row and in that of its group, if it has one."""
    told: dict[str, dict[int, int | None]] = {}
    for mark, late, own in corrections:
        for key in (line, own):
            if key is not None and key in rows:
                told.setdefault(key, {})[mark] = late
    return {**rows, **{key: replace(rows[key], noted=_renoted(rows[key].noted, said)) for key, said in told.items()}}


def _renoted(noted: Noted, told: Mapping[int, int | None]) -> Noted:
    kept = [(latest, mark) for latest, mark in noted if mark not in told]
    left = [(mark + late, mark) for _, mark in noted if (late := told.get(mark)) is not None]
    return tuple(sorted((*kept, *left)))
