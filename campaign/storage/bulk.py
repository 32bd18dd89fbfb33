"""Hundreds of rows in one statement with one parameter. No decision is taken here.

A parameter per value costs more than the database's own work: rendering, adapting and binding them was half of what a
call cost. So PostgreSQL gets an array or one JSON document, and SQLite a JSON document or bare tuples.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Table,
    Text,
    TextClause,
    Update,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy import column as named_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine, UserDefinedType

ROWS = "rows"
"""The parameter that :func:`given` takes: what :func:`document` makes."""


def one_of(connection: Connection, column: Column[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """``column IN (values)``, for numbers and text."""
    chosen = list(values)
    if connection.dialect.name == "sqlite":
        return column.in_(select(func.json_each(json.dumps(chosen)).table_valued("value").c.value))
    return column == func.any(bindparam(None, _literal(chosen), type_=_ArrayAsText(column.type)))


class _ArrayAsText(UserDefinedType[Any]):
    """An array that is sent as the text by which PostgreSQL writes it: psycopg makes that of a list, too, but in
    three to four times the time."""

    cache_ok = True
    render_bind_cast = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        self.of = of

    def get_col_spec(self, **_: Any) -> str:
        return f"{self.of.compile(postgresql.dialect())}[]"  # type: ignore[no-untyped-call]


def _literal(values: Sequence[int] | Sequence[str]) -> str:
    return "{" + ",".join(_quoted(value) if isinstance(value, str) else str(value) for value in values) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"') if "\\" in text or '"' in text else text
    return f'"{escaped}"'


def in_order(table: Table, *conditions: ColumnElement[bool] | TextClause) -> ColumnElement[bool]:
    """For the WHERE of an UPDATE of many rows: those that meet ``conditions``, locked in the order of their ids. Else
    PostgreSQL locks them in the order in which they happen to lie, and two that meet the same rows may deadlock."""
    chosen = select(table.c.id).where(*conditions).order_by(table.c.id).with_for_update(of=table)
    return table.c.id.in_(chosen.correlate(None))


def given(connection: Connection, columns: Sequence[Column[Any]]) -> FromClause:
    """Rows that come with the statement as parameter ROWS, with these columns."""
    if connection.dialect.name == "sqlite":
        each = func.json_each(bindparam(ROWS, type_=Text)).table_valued("value")
        return select(*(func.json_extract(each.c.value, f"$.{c.name}").label(c.name) for c in columns)).subquery()
    return _recordset(columns)


def _recordset(columns: Sequence[Column[Any]]) -> FromClause:
    sent = cast(bindparam(ROWS, type_=Text), JSON)
    typed = [named_column(c.name, c.type) for c in columns]
    return func.json_to_recordset(sent).table_valued(*typed).render_derived(with_types=True)


def document(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The parameters for a statement over :func:`given`. By pydantic's writer: ``json`` takes five times as long."""
    return {ROWS: to_json(rows).decode()}


def update_rows(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Set the columns ``names`` of the rows whose ids come last in ``rows``."""
    if connection.dialect.name == "sqlite":
        # Bare tuples: a JSON document would have SQLite read the times again from text, the last digit not always.
        places = [i for i, name in enumerate(names) if isinstance(table.c[name].type, JSON)]
        connection.exec_driver_sql(_sqlite_update(table, names), [_bound(row, places) for row in rows])
    else:
        keys = (*names, "id")
        document_ = document([dict(zip(keys, row, strict=True)) for row in _in_plain_text(rows)])
        connection.execute(_postgres_update(table, names), document_)


def _in_plain_text(rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    """The same with texts for words of ours: a row with three members of enumerations took pydantic's writer four to
    seven times as long."""
    columns = zip(*rows, strict=True)
    return zip(*(map(_text, each) if isinstance(each[0], StrEnum) else each for each in columns), strict=True)


def _text(word: StrEnum | None) -> str | None:
    return None if word is None else word.value


def _bound(row: Sequence[Any], places: Sequence[int]) -> tuple[Any, ...]:
    if not places:
        return tuple(row)
    values = list(row)
    for i in places:
        values[i] = json.dumps(values[i])
    return tuple(values)


@cache
def _sqlite_update(table: Table, names: tuple[str, ...]) -> str:
    assignments = ", ".join(f"{table.c[name].name} = ?" for name in names)
    return f"UPDATE {table.name} SET {assignments} WHERE id = ?"  # noqa: S608 - names of the schema's own columns


@cache
def _postgres_update(table: Table, names: tuple[str, ...]) -> Update:
    rows = _recordset([table.c[name] for name in (*names, "id")])
    return update(table).where(table.c.id == rows.c.id).values({name: rows.c[name] for name in names})
