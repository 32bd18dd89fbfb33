"""How old may the time zone data be? Governments change their clocks at a few weeks' notice."""

from datetime import UTC, datetime


def is_old(release: str, now: float) -> bool:
    """Whether a release of tzdata (``2025.2``, ``2025b``) is over a year old, as far as its name can tell: it counts as
    one of the middle of its year. A name without a year is old."""
    year = release[:4]
    if not year.isdigit():
        return True
    return now >= datetime(int(year) + 1, 7, 1, tzinfo=UTC).timestamp()
