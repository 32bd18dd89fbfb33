"""May this number be called now, and if not, when? Answered in every zone the number may be in, failing closed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import inf
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from campaign.domain.durations import format_duration
from campaign.domain.plan import DAYS, Hours

LOOK_AHEAD_DAYS = 15
AT_ONCE = 30.0
"""Seconds before closing from which no call leaves through a line that rings at once: a request may be on its way for
as long as its line's timeout (20 s by default) after the last look at the gates, and it must not ring after hours. A
provider that queues needs more (docs/decisions/0010-the-margin-before-closing.md)."""

Span = tuple[float, float]
Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """The window is open now."""


@dataclass(frozen=True, slots=True)
class Closed:
    """``opens_at`` is None where no common opening is in sight; then ``reason`` says what a person must mend."""

    opens_at: float | None
    reason: str


@lru_cache(maxsize=512)  # one batch asks for hundreds of numbers at one moment
def window(hours: Hours | None, zones: tuple[str, ...], now: float, margin: float = AT_ONCE) -> Open | Closed:
    """``zones`` are the number's own; they count where the plan says ``zone = "target"``.

    ``margin`` is how many seconds a call may wait at its provider before it rings: no window is open in its last
    ``margin`` seconds. Infinite: nobody knows how long, so there is no moment from which a call is sure to be in time.
    """
    if hours is None or not (hours.windows or hours.holidays or hours.blackout):
        return Open()
    names = zones if hours.zone == "target" else (hours.zone,)
    if not names:
        return Closed(None, "time zone unknown")
    try:
        spans = _common(hours, names, now)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return Closed(None, f"time zone unknown: {', '.join(names)}")
    return _answer(spans, names[0], now, margin)


def _answer(spans: Spans, zone: str, now: float, margin: float) -> Open | Closed:
    """Reasons begin alike, whatever follows: by that a changed plan finds the targets that it frees."""
    for start, end in spans:
        if end - margin <= max(start, now):
            continue  # over, or shorter than the margin: no call may ever leave in it
        if start <= now:
            return Open()
        return Closed(start, "outside calling hours" + _closing_soon(spans, zone, now, margin))
    return Closed(None, "no common calling window" + _too_long(spans, now, margin))


def _closing_soon(spans: Spans, zone: str, now: float, margin: float) -> str:
    """What explains a refusal while the clock on the wall says open."""
    closes = next((end for start, end in spans if start <= now < end), None)
    if closes is None:
        return ""
    wall = datetime.fromtimestamp(closes, ZoneInfo(zone))
    return f": closes at {wall:%H:%M} {zone}, stops {format_duration(margin)} before because the line may queue"


def _too_long(spans: Spans, now: float, margin: float) -> str:
    if not any(end > now for _, end in spans):
        return ""
    if margin == inf:
        return ": the line's provider dials again by itself, nobody knows for how long; give the line a queue_margin"
    return f" is longer than the {format_duration(margin)} for which the line may queue; see queue_margin"


def _common(hours: Hours, names: tuple[str, ...], now: float) -> Spans:
    spans = _spans(hours, names[0], now)
    for name in names[1:]:
        spans = _intersect(spans, _spans(hours, name, now))
    return spans


def _spans(hours: Hours, name: str, now: float) -> Spans:
    """The open spans of one zone from yesterday on, in order, as epoch seconds."""
    return _spans_around(hours, name, datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(name)).date())


@lru_cache(maxsize=512)  # the same all day long; 15 days take 0.2 ms
def _spans_around(hours: Hours, name: str, today: date) -> Spans:
    zone = ZoneInfo(name)
    closed = {*hours.holidays, *hours.blackout}
    spans: list[Span] = []
    for offset in range(-1, LOOK_AHEAD_DAYS):
        day = today + timedelta(days=offset)
        if day not in closed:
            spans.extend(_spans_of_day(hours, day, zone))
    return tuple(_merged(sorted(spans)))


def _spans_of_day(hours: Hours, day: date, zone: ZoneInfo) -> list[Span]:
    if not hours.windows:
        return [(_opens(day, time(0), zone), _opens(day + timedelta(days=1), time(0), zone))]
    word = DAYS[day.weekday()]
    spans = [(_opens(day, w.opens, zone), _closes(day, w.closes, zone)) for w in hours.windows if word in w.days]
    return [(start, end) for start, end in spans if start < end]


def _opens(day: date, at: time, zone: ZoneInfo) -> float:
    """Where the wall clock shows this time twice or never, the later instant: open late rather than early."""
    return max(_instants(day, at, zone))


def _closes(day: date, at: time, zone: ZoneInfo) -> float:
    return min(_instants(day, at, zone))


def _instants(day: date, at: time, zone: ZoneInfo) -> tuple[float, float]:
    wall = datetime.combine(day, at.replace(tzinfo=None), zone)
    return wall.replace(fold=0).timestamp(), wall.replace(fold=1).timestamp()


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _intersect(left: Spans, right: Spans) -> Spans:
    common = [(max(a[0], b[0]), min(a[1], b[1])) for a in left for b in right if max(a[0], b[0]) < min(a[1], b[1])]
    return tuple(sorted(common))
