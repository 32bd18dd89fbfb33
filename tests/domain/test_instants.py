"""Moments as people write them."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.instants import format_instant, parse_instant


@pytest.mark.parametrize(
    ("text", "zone", "means"),
    [
        ("2026-11-23 10:00", "UTC", "2026-11-23T10:00:00+00:00"),
        ("2026-11-23 10:00", "Europe/Berlin", "2026-11-23T09:00:00+00:00"),
        (" 2026-11-23T10:00:30Z ", "Europe/Berlin", "2026-11-23T10:00:30+00:00"),
        ("2026-11-23T10:00+08:00", "UTC", "2026-11-23T02:00:00+00:00"),
        ("2026-11-23", "UTC", "2026-11-23T00:00:00+00:00"),
        ("2026-10-25 02:30", "Europe/Berlin", "2026-10-25T00:30:00+00:00"),  # shown twice: the first
        ("2026-03-29 02:30", "Europe/Berlin", "2026-03-29T01:30:00+00:00"),  # never shown: half an hour after the gap
    ],
)
def test_a_moment_is_read_on_the_wall_clock_of_its_zone(text: str, zone: str, means: str) -> None:
    assert parse_instant(text, zone) == datetime.fromisoformat(means).timestamp()


@pytest.mark.parametrize("text", ["", "10:00", "tomorrow", "23.11.2026", "2026-13-01"])
def test_what_is_no_moment_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-11-23 10:00"):
        parse_instant(text)


def test_a_zone_that_is_none_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match="write an IANA name"):
        parse_instant("2026-11-23 10:00", "Berlin/../Europe")


@given(st.integers(0, 4_000_000_000))
def test_what_is_written_reads_back_to_the_second(at: int) -> None:
    written = format_instant(at + 0.9)
    assert written is not None
    assert parse_instant(written) == at
