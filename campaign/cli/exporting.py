"""``export`` and ``rejects``: files to take away. A file appears whole or not at all."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import click

from campaign.cli.command import Command, Session, json_flag, pass_session, quiet_flag
from campaign.cli.output import note, plural, print_json
from campaign.domain.errors import UsageFault

STDOUT = Path("-")


@click.command("export", cls=Command, examples=[
    "campaign export recall -o results.csv",
    "campaign export recall -o attempts.jsonl --attempts --format jsonl",
    "campaign export recall -o - | head",
])  # fmt: skip
@click.argument("campaign")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="- is stdout.")
@click.option("--attempts", is_flag=True, help="One row per attempt, not per number.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="As FILE ends; else csv.")
@json_flag
@quiet_flag
@pass_session
def export_command(
    session: Session, campaign: str, output: Path, attempts: bool, form: str | None, as_json: bool, quiet: bool
) -> None:
    """Write the results as a file.

    CSV cells that a spreadsheet would run get a leading ', which an upload takes away again; JSON Lines are raw.
    """
    chosen = form or ("jsonl" if output.suffix in (".jsonl", ".ndjson") else "csv")
    rows = write_results(session, campaign, output, attempts=attempts, form=chosen)
    _tell(output, rows, as_json, quiet)


@click.command("rejects", cls=Command, examples=["campaign rejects recall -o mend.csv", "campaign rejects recall -o -"])
@click.argument("campaign")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="- is stdout.")
@json_flag
@quiet_flag
@pass_session
def rejects_command(session: Session, campaign: str, output: Path, as_json: bool, quiet: bool) -> None:
    """Write the rejected rows as a CSV to mend and upload again.

    Each row has its line, field, reason and remedy in front; an upload drops those columns.
    """
    rows = write_rejected(session, campaign, output)
    if rows == 0 and output != STDOUT:
        note("No row was rejected; no file was written.", quiet=quiet)
    if rows or as_json:
        _tell(output, rows, as_json, quiet)


def _tell(output: Path, rows: int, as_json: bool, quiet: bool) -> None:
    if as_json and output != STDOUT:
        print_json({"file": str(output), "rows": rows})
    elif output != STDOUT:
        note(f"Wrote {plural(rows, 'row')} to {output}.", quiet=quiet)


def write_results(session: Session, campaign: str, output: Path, *, attempts: bool = False, form: str = "csv") -> int:
    """Rows written. Raises NotFound, UsageFault."""
    from campaign.services import results

    return write_file(output, lambda out: results.export(session.store, campaign, out, attempts=attempts, format=form))


def write_rejected(session: Session, campaign: str, output: Path) -> int:
    """Rows written; where none was rejected there is no file. Raises NotFound, UsageFault."""
    from campaign.services import campaigns, uploads

    view = campaigns.get(session.store, campaign)
    return write_file(output, lambda out: uploads.write_rejects(session.store, view.id, out), keep_empty=False)


def write_file(output: Path, write: Callable[[TextIO], int], *, keep_empty: bool = True) -> int:
    """Write beside the goal and move into place, so that nobody ever reads half a file. ``write`` counts its rows."""
    if output == STDOUT:
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        return write(sys.stdout)
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            rows = write(out)
        if rows or keep_empty:
            part.replace(output)
        return rows
    except OSError as error:
        raise UsageFault(
            f"{output} cannot be written ({error.strerror}); give the name of a file in a folder that you may write to"
        ) from None
    finally:
        part.unlink(missing_ok=True)
