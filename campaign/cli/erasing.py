"""``erase``: what is kept about a person goes, and the number is never dialled or stored again."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from campaign.cli.command import Command, Session, json_flag, pass_session, yes_flag
from campaign.cli.numbers_given import any_e164, chosen_region
from campaign.cli.output import ask, note, plural, print_json, when
from campaign.cli.uploads import reading_flags, reading_from
from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.domain.erasure import ErasureKey


@click.command("erase", cls=Command, examples=[
    "campaign erase +14155550100",
    "campaign erase --file forget-us.csv --region US --yes",
    "campaign erase --status",
])  # fmt: skip
@click.argument("numbers", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="A CSV, read as an upload reads it.")
@click.option("--status", is_flag=True, help="Only say what is not erased everywhere yet.")
@reading_flags
@yes_flag
@json_flag
@pass_session
def erase_command(
    session: Session, numbers: tuple[str, ...], file: Path | None, status: bool, yes: bool, as_json: bool, **given: Any
) -> None:
    """Erase people: a keyed hash takes the place of their numbers.

    From this moment on they are not dialled, and an upload cannot bring them back. A call that is open keeps its number
    until it has ended; workers erase it then, or this command given once more. What came of calls stays in the figures.
    """
    if status:
        _say_standing(session, as_json)
        return
    wanted, rejected = _wanted(session, numbers, file, given)
    key = _key(session)
    ask(f"Erase everything that is kept about {plural(len(wanted), 'number')}, for good?", yes=yes)
    _erase(session, key, wanted, rejected, as_json)
    if given["strict"] and rejected:
        raise click.exceptions.Exit(3)


def _erase(session: Session, key: "ErasureKey", wanted: list[str], rejected: int, as_json: bool) -> None:
    from campaign.services import erasing

    done = erasing.erase(session.store, key, wanted)
    if as_json:
        told = {"numbers": done.numbers, "erased": done.numbers - done.waiting, "open": done.waiting}
        print_json({**told, "again": done.again, "skipped": done.skipped, "rejected": rejected})
    left = f"; {plural(done.waiting, 'number')} still open: `campaign erase --status`" if done.waiting else ""
    skipped = f", {plural(done.skipped, 'waiting target')} skipped" if done.skipped else ""
    note(f"Erased {plural(done.numbers - done.waiting, 'number')}{skipped}{left}.", quiet=as_json)


def _wanted(
    session: Session, numbers: tuple[str, ...], file: Path | None, given: dict[str, Any]
) -> tuple[list[str], int]:
    """The numbers, each once, and how many rows of the file could not be read. Raises UsageFault."""
    wanted = list(_typed(numbers, chosen_region(session, given.get("region"))))
    rejected = 0
    for row in _rows(session, file, given) if file is not None else ():
        if isinstance(row, str):
            wanted.append(row)
        else:
            rejected += 1
            note(f"line {row.line_no}: {row.field} {row.reason}; {row.remedy}")
    if not wanted:
        said = " that can be read" if rejected else "; give it, or a --file"
        raise UsageFault(f"there is no number to erase{said}")
    return list(dict.fromkeys(wanted)), rejected


def _typed(numbers: tuple[str, ...], region: str | None) -> Iterator[str]:
    """All of them or none: a slip must not pass unseen among many. No fault repeats a number."""
    faults = []
    for place, number in enumerate(numbers, start=1):
        try:
            yield any_e164(number, region)
        except UsageFault as fault:
            faults.append(str(fault).replace("the number", f"number {place} of {len(numbers)}", 1))
    if faults:
        raise UsageFault("\n".join([*faults, "nothing was erased"]))


def _rows(session: Session, file: Path, given: dict[str, Any]) -> Iterator[Any]:
    from campaign.intake.rows import read_rows
    from campaign.intake.sheet import RejectedRow
    from campaign.services import uploads

    reading = reading_from(session, given)
    with uploads.open_file(file) as source:
        layout = uploads.preview(source, reading)
        for row in read_rows(iter(lambda: source.read(65_536), b""), layout, reading):
            yield row if isinstance(row, RejectedRow) else row.phone


def _key(session: Session) -> "ErasureKey":
    """The configured one; on a machine that needs no configuration its own, made now. Raises UsageFault."""
    from campaign.config import make_erasure_key

    key = session.erasure_key
    if key is None and session.settings.embedded:
        key = make_erasure_key(session.settings.home)
    if key is None:
        raise UsageFault(
            "CAMPAIGN_ERASURE_KEY is not set, and without a key an erased number cannot be told again; "
            "give this command and every worker the same one, such as file:/run/secrets/erasure_key"
        )
    return key


def _say_standing(session: Session, as_json: bool) -> None:
    from campaign.domain.instants import format_instant
    from campaign.services import erasing

    now = erasing.standing(session.store, session.erasure_key)
    if as_json:
        told = {"erased": now.numbers - now.waiting, "open": now.waiting, "open_calls": now.calls}
        missed = format_instant(now.missed_at)
        print_json({**told, "unread_uploads": now.unread, "key": now.key or "ok", "key_missed_at": missed})
        return
    note(f"{plural(now.numbers - now.waiting, 'number')} erased, {now.waiting:,} open.")
    if now.calls:
        note(f"{plural(now.calls, 'call')} to them must end first.")
    if now.unread:
        note("An upload that may hold them is still to be read.")
    if now.key:
        note(f"{now.key[0].upper()}{now.key[1:]}.")
    if now.missed_at is not None:
        note(f"A process refused to work for want of the key at {when(now.missed_at)}.")
