"""Rows of ``lines``: the health that all workers share, and the lock under which a line's calls are counted."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Row, bindparam, select, update

from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState
from campaign.storage import dispatch_rows
from campaign.storage.dispatch_rows import Watch
from campaign.storage.newer_words import CLOSED, state_of_line
from campaign.storage.schema import dispatch, lines
from campaign.storage.upsert import insert_new

_LINE = (
    select(lines, *dispatch_rows.watched("our_refs"))
    .select_from(lines.outerjoin(dispatch, dispatch.c.id == 1))
    .where(lines.c.name == bindparam("line"))
)
"""A line's row and, in the same statement, what :class:`Watch` says. Made once: every claim and every send runs it."""

_LOCKED_LINE = _LINE.with_for_update(of=lines)


@dataclass(frozen=True, slots=True)
class LineRow:
    """``calls_per_second`` and ``max_in_flight`` are what an operator set while running; None: as configured.
    ``watch`` says whether anything may be dialled; None where no process has ever worked on the database."""

    name: str
    health: LineHealth
    calls_per_second: float | None = None
    max_in_flight: int | None = None
    watch: Watch | None = None


def lock_line(connection: Connection, name: str, our_refs: Collection[str] = ()) -> LineRow:
    """The line's row, made if it is not there, locked until the transaction ends. ``our_refs`` are the references of
    attempts that the database must know."""
    asked = {"line": name, "our_refs": list(our_refs)}
    row = connection.execute(_LOCKED_LINE, asked).first()
    if row is None:
        insert_missing(connection, [name])
        row = connection.execute(_LOCKED_LINE, asked).one()
    return _line_row(row)


def read_line(connection: Connection, name: str, our_refs: Collection[str] = ()) -> LineRow:
    """The line's row, unlocked; as made where there is none."""
    row = connection.execute(_LINE, {"line": name, "our_refs": list(our_refs)}).first()
    return _line_row(row) if row is not None else LineRow(name, LineHealth())


def insert_missing(connection: Connection, names: list[str]) -> None:
    if not names:
        return
    connection.execute(insert_new(connection, lines), [{"name": name} for name in names])


def write_health(connection: Connection, name: str, health: LineHealth) -> None:
    """Call with the row locked. A state that a newer version has given the line stays."""
    known = lines.c.state.in_(sorted(LineState))
    connection.execute(update(lines).where(lines.c.name == name, known).values(asdict(health)))


def _line_row(row: Row) -> LineRow:  # type: ignore[type-arg]
    state = state_of_line(row.state)
    if state is None:
        return LineRow(row.name, CLOSED, row.calls_per_second, row.max_in_flight, dispatch_rows.watch(row))
    health = LineHealth(
        state=state,
        why=row.why,
        not_before=row.not_before,
        pace_factor=row.pace_factor,
        failures=row.failures,
        trips=row.trips,
        changed_at=row.changed_at,
    )
    return LineRow(row.name, health, row.calls_per_second, row.max_in_flight, dispatch_rows.watch(row))
