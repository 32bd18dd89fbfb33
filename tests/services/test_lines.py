"""Lines as an operator sees and sets them."""

import pytest

from campaign.domain.errors import NotFound, UsageFault
from campaign.domain.line import Line
from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.services.lines import LineView, ensure_line_rows, list_lines, reset_line, set_limits
from campaign.storage import line_rows
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_attempt, add_target, journal, running

LINES = {
    "recall": Line(name="recall", provider="pathors", base_url="https://x.test", calls_per_second=5.0, max_in_flight=40)
}


def only(views: list[LineView]) -> LineView:
    assert len(views) == 1
    return views[0]


def test_a_line_shows_what_is_configured_and_what_is_live(store: Store) -> None:
    campaign = running(store, line="recall")
    add_attempt(store, add_target(store, campaign, "+12025550101", "calling"), "placed", line="recall")
    add_attempt(store, add_target(store, campaign, "+12025550102", "done"), "ended", line="recall")
    view = only(list_lines(store, LINES))
    assert (view.name, view.provider, view.state, view.live, view.running_campaigns) == (
        "recall", "pathors", LineState.OPEN, 1, 1,
    )  # fmt: skip
    assert view.summary == {"calls_per_second": 5.0, "max_in_flight": 40, "state": "open"}


def test_a_line_that_is_no_longer_configured_is_still_shown(store: Store) -> None:
    ensure_line_rows(store, ["old"])
    ensure_line_rows(store, ["old"])
    view = only(list_lines(store, {}))
    assert (view.name, view.provider, view.calls_per_second) == ("old", None, None)


def test_limits_are_set_while_running_and_taken_back(store: Store) -> None:
    view = set_limits(store, LINES, "recall", calls_per_second="2.5", max_in_flight=7)
    assert (view.calls_per_second, view.max_in_flight, view.is_set) == (2.5, 7, True)
    with store.read() as connection:
        row = line_rows.read_line(connection, "recall")
    assert (row.calls_per_second, row.max_in_flight) == (2.5, 7)
    view = set_limits(store, LINES, "recall", calls_per_second="configured")
    assert (view.calls_per_second, view.max_in_flight, view.is_set) == (5.0, 7, True)
    assert journal(store) == ["line_set", "line_set"]


@pytest.mark.parametrize(
    "limits", [{"calls_per_second": 0}, {"max_in_flight": "2.5"}, {"calls_per_second": "fast"}, {}]
)
def test_a_limit_that_is_no_limit_is_refused(store: Store, limits: dict[str, str]) -> None:
    with pytest.raises(UsageFault, match="or `configured`"):
        set_limits(store, LINES, "recall", **limits)


def test_an_unknown_line_names_those_that_there_are(store: Store) -> None:
    with pytest.raises(NotFound, match="no line 'recal'; there are recall"):
        reset_line(store, LINES, "recal")


def test_a_reset_forgets_the_trouble_and_keeps_the_limits(store: Store, clock: FakeClock) -> None:
    set_limits(store, LINES, "recall", max_in_flight=7)
    with store.write() as connection:
        broken = LineHealth(LineState.BROKEN, "5 failures in a row", clock.now() + 60, 0.25, failures=5, trips=2)
        line_rows.write_health(connection, "recall", broken)
    assert only(list_lines(store, LINES)).not_before == clock.now() + 60
    view = reset_line(store, LINES, "recall")
    assert (view.state, view.why, view.not_before, view.pace_factor) == (LineState.OPEN, None, None, 1.0)
    assert view.max_in_flight == 7
    with store.read() as connection:
        assert line_rows.read_line(connection, "recall").health == LineHealth(changed_at=clock.now())
