"""Lines as an operator sees them: configured in a file, set while running, and how they fare at this moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from campaign.domain.errors import NotFound, UsageFault
from campaign.domain.line import Line
from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.storage import events, line_rows, line_settings
from campaign.storage.engine import RowMapping, Store


@dataclass(frozen=True, slots=True)
class LineView:
    """One line. ``calls_per_second`` and ``max_in_flight`` are the limits in force: as set while running (then
    ``is_set``), else as configured; None where the line is not configured here. ``pace_factor`` is the share of the
    pace that the provider's throttling leaves. ``not_before`` is epoch seconds, None where calls may leave now."""

    name: str
    provider: str | None
    state: LineState
    why: str | None
    calls_per_second: float | None
    max_in_flight: int | None
    is_set: bool
    pace_factor: float
    not_before: float | None
    live: int
    running_campaigns: int

    @property
    def summary(self) -> dict[str, object]:
        """The ``lines`` part of ``campaign show --json``."""
        return {
            "calls_per_second": self.calls_per_second,
            "max_in_flight": self.max_in_flight,
            "state": str(self.state),
        }


def list_lines(store: Store, lines: Mapping[str, Line]) -> list[LineView]:
    """Configured lines and those that only the database knows, by name."""
    with store.read() as connection:
        now = store.now(connection)
        rows = line_settings.by_name(connection)
        live, running = line_settings.live(connection), line_settings.running(connection)
    names = sorted({*rows, *lines})
    return [
        line_view(name, lines.get(name), rows.get(name), now, live.get(name, 0), running.get(name, 0)) for name in names
    ]


def ensure_line_rows(store: Store, names: Iterable[str]) -> None:
    """A row for every line, so that it can be locked. Rows that are there stay as they are."""
    with store.write() as connection:
        line_rows.insert_missing(connection, sorted(names))


def set_limits(
    store: Store,
    lines: Mapping[str, Line],
    name: str,
    *,
    calls_per_second: float | str | None = None,
    max_in_flight: int | str | None = None,
) -> LineView:
    """Change a line's limits while it runs, for every worker at once. ``configured`` goes back to the file's value;
    None leaves a limit as it is. Raises NotFound, UsageFault."""
    values = {
        **_limit("calls_per_second", calls_per_second, float, 10_000.0),
        **_limit("max_in_flight", max_in_flight, int, 1_000_000),
    }
    if not values:
        raise UsageFault("give calls_per_second or max_in_flight, a number or `configured`")
    return _change(store, lines, name, "line_set", values)


def reset_line(store: Store, lines: Mapping[str, Line], name: str) -> LineView:
    """A person has mended it: close the breaker, end the silence, go at the full pace. Raises NotFound."""
    return _change(store, lines, name, "line_reset", None)


def line_view(
    name: str, line: Line | None, row: RowMapping | None, now: float, live: int = 0, running: int = 0
) -> LineView:
    """A line from what is configured and what is stored; either may be missing."""
    stored: dict[str, Any] = dict(row) if row else {}
    pace, in_flight = stored.get("calls_per_second"), stored.get("max_in_flight")
    not_before = stored.get("not_before", 0.0)
    return LineView(
        name=name,
        provider=line.provider if line else None,
        state=LineState(stored.get("state", LineState.OPEN)),
        why=stored.get("why"),
        calls_per_second=pace if pace is not None else line.calls_per_second if line else None,
        max_in_flight=in_flight if in_flight is not None else line.max_in_flight if line else None,
        is_set=pace is not None or in_flight is not None,
        pace_factor=stored.get("pace_factor", 1.0),
        not_before=not_before if not_before > now else None,
        live=live,
        running_campaigns=running,
    )


def _change(
    store: Store, lines: Mapping[str, Line], name: str, kind: str, limits: Mapping[str, object] | None
) -> LineView:
    """Set ``limits``, or with None forget all trouble."""
    with store.write() as connection:
        known = line_settings.by_name(connection)
        if name not in lines and name not in known:
            raise NotFound(f"no line {name!r}; there are {', '.join(sorted({*lines, *known})) or 'none'}")
        now = store.now(connection)
        line_rows.lock_line(connection, name)
        if limits is None:
            line_rows.write_health(connection, name, LineHealth(changed_at=now))
        else:
            line_settings.change(connection, name, limits)
        events.record(connection, now, kind, line=name, detail=limits)
        row, live = line_settings.by_name(connection)[name], line_settings.live(connection)
        return line_view(name, lines.get(name), row, now, live.get(name, 0))


def _limit(key: str, value: object, kind: type[float] | type[int], most: float) -> dict[str, object]:
    if value is None:
        return {}
    if value == "configured":
        return {key: None}
    try:
        number = kind(str(value))
    except ValueError:
        number = kind(0)
    least = 1 if kind is int else 0.001
    if not least <= number <= most:
        raise UsageFault(f"{key}={value}: give a number from {least} to {most:g}, or `configured`")
    return {key: number}
