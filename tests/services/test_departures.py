"""From when on a call counts as gone: from the turn of its process after it was written, within bounds."""

import asyncio
from collections.abc import Sequence

import pytest

from campaign.domain.pace import Correction, StartTime
from campaign.services.departures import ON_THE_WIRE, Departures
from tests.clock import FakeClock


@pytest.mark.parametrize(
    ("ago", "late"),
    [(0.0, 50), (0.002, 50), (ON_THE_WIRE, 50), (0.045, 10)],
    ids=["just now", "a short turn ago", "the longest that counts", "a long turn ago"],
)
def test_a_call_counts_from_the_turn_after_it_was_written_and_five_milliseconds_later_at_most(
    ago: float, late: int
) -> None:
    async def run() -> Sequence[Correction]:
        clock = FakeClock()
        # Given a start time 50 ms ago, When it is told that the call left so many seconds ago
        departures = Departures(clock, _nobody)
        departures.left(StartTime(0, clock.monotonic() - 0.050, mark=7), ago)
        return departures.taken()

    # Then it left so many milliseconds late
    assert asyncio.run(run()) == [Correction(7, late * 1000)]


async def _nobody() -> None:
    """Nobody is told."""
