"""``dnc add|import|remove|list``: numbers that no campaign may ring."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from campaign.cli.command import Group, Session, json_flag, pass_session
from campaign.cli.numbers_given import any_e164, chosen_region
from campaign.cli.output import note, plural, print_json, print_json_rows, print_table, when
from campaign.cli.uploads import reading_flags, reading_from

region_flag = click.option("--region", metavar="CC", help="Region of numbers without a country code, such as US.")


@click.group("dnc", cls=Group)
def dnc_command() -> None:
    """The do-not-call list."""


def _numbers(session: Session, given: tuple[str, ...], region: str | None) -> list[str]:
    chosen = chosen_region(session, region)
    return [any_e164(number, chosen) for number in given]


@dnc_command.command("add", examples=["campaign dnc add +14155550100 --reason 'asked on the phone'"])
@click.argument("numbers", nargs=-1, required=True)
@click.option("--reason", default="", metavar="TEXT", help="Kept with the number.")
@region_flag
@json_flag
@pass_session
def add_command(session: Session, numbers: tuple[str, ...], reason: str, region: str | None, as_json: bool) -> None:
    """Never call these numbers again, from this moment on. A call that is live runs out."""
    from campaign.services import do_not_call

    done = do_not_call.add(session.store, _numbers(session, numbers, region), reason, session.erasure_key)
    _tell(as_json, added=done.added, known=done.known, skipped=done.skipped, rejected=0)


@dnc_command.command("import", examples=["campaign dnc import opted-out.csv --region US --reason 'list of May'"])
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--reason", default="", metavar="TEXT", help="Kept with every number.")
@reading_flags
@json_flag
@pass_session
def import_command(session: Session, file: Path, reason: str, as_json: bool, **given: Any) -> None:
    """List every number of a CSV, read as an upload reads it."""
    from campaign.services import do_not_call, uploads

    reading, rejected = reading_from(session, given), [0]
    with uploads.open_file(file) as source:
        done = do_not_call.add(session.store, _phones(source, reading, rejected), reason, session.erasure_key)
    _tell(as_json, added=done.added, known=done.known, skipped=done.skipped, rejected=rejected[0])
    if given["strict"] and rejected[0]:
        raise click.exceptions.Exit(3)


def _phones(source: BinaryIO, reading: Any, rejected: list[int]) -> Iterator[str]:
    from campaign.intake.rows import read_rows
    from campaign.intake.sheet import RejectedRow
    from campaign.services import uploads

    layout = uploads.preview(source, reading)
    for row in read_rows(iter(lambda: source.read(65_536), b""), layout, reading):
        if isinstance(row, RejectedRow):
            rejected[0] += 1
            note(f"line {row.line_no}: {row.field} {row.reason}; {row.remedy}")
        else:
            yield row.phone


def _tell(as_json: bool, *, added: int, known: int, skipped: int, rejected: int) -> None:
    if as_json:
        print_json({"added": added, "known": known, "skipped": skipped, "rejected": rejected})
        return
    bad = f", {plural(rejected, 'row')} could not be read" if rejected else ""
    note(
        f"Listed {plural(added, 'number')}, {known:,} known already{bad}; {plural(skipped, 'waiting target')} skipped."
    )


@dnc_command.command("remove", examples=["campaign dnc remove +14155550100"])
@click.argument("numbers", nargs=-1, required=True)
@region_flag
@json_flag
@pass_session
def remove_command(session: Session, numbers: tuple[str, ...], region: str | None, as_json: bool) -> None:
    """Take numbers off the list. What was skipped because of it stays skipped: upload it anew."""
    from campaign.services import do_not_call

    removed = do_not_call.remove(session.store, _numbers(session, numbers, region))
    if as_json:
        print_json({"removed": removed, "not_listed": len(set(numbers)) - removed})
    note(f"Removed {plural(removed, 'number')}; {len(set(numbers)) - removed} had not been listed.", quiet=as_json)


@dnc_command.command("list", examples=["campaign dnc list", "campaign dnc list --json"])
@json_flag
@pass_session
def list_command(session: Session, as_json: bool) -> None:
    """Every number on the list."""
    from campaign.domain.instants import format_instant
    from campaign.services import do_not_call

    listed = do_not_call.list_numbers(session.store)
    if as_json:
        rows = ({"phone": x.phone, "reason": x.reason, "added_at": format_instant(x.added_at)} for x in listed)
        print_json_rows(rows)
        return
    print_table(("number", "listed", "reason"), [(one.phone, when(one.added_at), one.reason) for one in listed])
