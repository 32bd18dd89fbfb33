"""When does a schedule fire next? Five cron fields, read on the wall clock of one zone.

A minute that the clock skips fires at the first minute after the gap; a minute that it shows twice fires at the first.
Either way a matching wall minute fires once. Day of month and day of week follow cron: where both are restricted, one
is enough.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_LONGEST_GAP_DAYS = 366 * 8 + 2
"""29 February may be eight years away (1896 to 1904, 2096 to 2104)."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()
    words_from: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed schedule. ``weekdays`` counts from 0, Sunday; ``either_day``: both day fields are restricted."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def on_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (by_date or by_weekday) if self.either_day else (by_date and by_weekday)

    def matches(self, wall: datetime) -> bool:
        return self.on_day(wall.date()) and wall.hour in self.hours and wall.minute in self.minutes


def parse(text: str) -> Cron:
    """Raises ValueError with one sentence that names the field."""
    fields = _SHORTHANDS.get(text.strip().lower(), text).lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"cron {text!r} has {len(fields)} fields and needs 5: minute hour day-of-month month day-of-week, "
            "like `0 10 * * mon-fri`"
        )
    minutes, hours, days, months, weekdays = (_values(field, part) for field, part in zip(_FIELDS, fields, strict=True))
    return Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either_day=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )


def next_fire(cron: Cron, zone: ZoneInfo, after: float) -> float | None:
    """The first fire later than ``after``, epoch seconds; None where the schedule names no day that exists."""
    for wall in _walls(cron, datetime.fromtimestamp(after, zone).replace(tzinfo=None, second=0, microsecond=0)):
        instant = _instant(wall, zone)
        if instant > after:
            return instant
    return None


def _walls(cron: Cron, start: datetime) -> Iterator[datetime]:
    """Matching wall minutes from ``start`` on, in order."""
    for offset in range(_LONGEST_GAP_DAYS):
        day = start.date() + timedelta(days=offset)
        if cron.on_day(day):
            for hour in cron.hours:
                yield from (w for m in cron.minutes if (w := datetime.combine(day, time(hour, m))) >= start)


def _instant(wall: datetime, zone: ZoneInfo) -> float:
    early = wall.replace(tzinfo=zone, fold=0).timestamp()
    if datetime.fromtimestamp(early, zone).replace(tzinfo=None) == wall:
        return early
    return _end_of_gap(wall.replace(tzinfo=zone, fold=1).timestamp(), early, zone)


def _end_of_gap(before: float, after: float, zone: ZoneInfo) -> float:
    """The transition lies in (before, after]: halve until the second is found."""
    offset = datetime.fromtimestamp(after, zone).utcoffset()
    low, high = int(before), int(after)
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return float(high)


def _values(field: _Field, text: str) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        values.update(_range(field, part))
    return values


def _range(field: _Field, part: str) -> range:
    found = _PART.fullmatch(part)
    if not found:
        raise ValueError(f"cron {field.name} {part!r} is not a number, a range, a list or a step like */15")
    star, low, high, step = found.groups()
    every = int(step) if step else 1
    first = field.first if star else _number(field, low)
    last = field.last if star or (step and not high) else _number(field, high or low)
    if every < 1:
        raise ValueError(f"cron {field.name} {part!r} has a step of 0; the smallest is 1")
    if first > last:
        raise ValueError(f"cron {field.name} {part!r} runs backwards; write the smaller end first")
    return range(first, last + 1, every)


def _number(field: _Field, text: str) -> int:
    if text in field.words:
        return field.words.index(text) + field.words_from
    if not text.isdecimal() or not field.first <= int(text) <= field.last:
        raise ValueError(f"cron {field.name} {text!r} is not within {field.first} to {field.last}")
    return int(text)
