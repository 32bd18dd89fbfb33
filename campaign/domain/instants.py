"""Moments as people write and read them; inside, a moment is epoch seconds in UTC."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def format_instant(at: float | None) -> str | None:
    """``2026-11-23T10:00:00Z``, whole seconds; None stays None."""
    return None if at is None else datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_instant(text: str, zone: str = "UTC") -> float:
    """Epoch seconds of ``2026-11-23 10:00`` in ``zone``, or of a moment with its own offset or ``Z``.

    Where the wall clock shows the time twice it is the first; where it never does, as far after the gap as the clock
    would have shown. Raises ValueError with the accepted forms.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time; write it like 2026-11-23 10:00 or 2026-11-23T10:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone_named(zone))).timestamp()


def zone_named(name: str) -> ZoneInfo:
    """Raises ValueError for a name that the time zone database does not hold."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; write an IANA name like Europe/Berlin or UTC") from None
