"""What goes to stdout (data) and to stderr (notes, questions, progress), and how much of it a person gets to see."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from campaign.domain.errors import UsageFault
from campaign.domain.instants import format_instant


def on_terminal() -> bool:
    """Whether a person looks at stderr: only then is there progress."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def note(text: str, *, quiet: bool = False) -> None:
    if not quiet:
        click.echo(text, err=True)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_rows(rows: Iterable[Mapping[str, object]]) -> None:
    """A JSON array of any length in constant memory, one row a line."""
    separator = "["
    for row in rows:
        click.echo(f"{separator}\n{json.dumps(row, ensure_ascii=False)}", nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else "\n]")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell: ruled on a terminal, bare where a program reads."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _print_ruled(headers, cells)
        return
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    for row in [list(headers), *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _print_ruled(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*headers, box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for row in cells:
        table.add_row(*row)
    Console(markup=False, highlight=False, emoji=False).print(table)


def cell(value: object) -> str:
    """A value as a person reads it, with nothing in it that a terminal would obey."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}"
    return "".join(character if character.isprintable() else "�" for character in str(value))


def when(at: float | None) -> str:
    return format_instant(at) or "-"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def ask(question: str, *, yes: bool) -> None:
    """Goes on only with a yes. Raises UsageFault where nobody can be asked, and ends as interrupted on a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageFault(f"{question} Nobody is at a terminal to answer; say --yes")
    if not click.confirm(question, err=True):
        note("Nothing was changed.")
        raise click.exceptions.Exit(130)


def as_data(**values: Any) -> dict[str, Any]:
    """A JSON object of ours: enums and times in their written forms."""
    return {name: _written(value) for name, value in values.items()}


def _written(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_written(one) for one in value]
    return str(value) if isinstance(value, str) else value
