"""``run``: a CSV from beginning to end in one command. Whatever is wrong is said before anything is created."""

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from campaign.cli.broker_ping import require_broker
from campaign.cli.campaigns import chosen_line
from campaign.cli.command import Command, Session, json_flag, pass_session, quiet_flag, yes_flag
from campaign.cli.embedded import Embedded
from campaign.cli.exporting import write_rejected, write_results
from campaign.cli.looking import print_dispositions
from campaign.cli.output import ask, note, plural, print_json, print_table
from campaign.cli.plan_flags import plan_flags, plan_from
from campaign.cli.uploads import await_reading, reading_flags, reading_from, rows_in_words, send
from campaign.cli.vitals import workers_seen
from campaign.cli.watching import end, fail_flag, follow
from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.domain.line import Line
    from campaign.domain.plan import Plan
    from campaign.intake.reading import Reading
    from campaign.services.upload_reading import Progress

COUNTED_FIRST = 2_000_000
"""Bytes up to which the numbers are counted before the question; a larger file takes too long for that."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, every word of it checked."""

    file: Path
    name: str
    named: bool  # by the person, so no other name will do
    line: "Line"
    plan: "Plan"
    reading: "Reading"
    results: Path | None
    rejects: Path | None


@click.command("run", cls=Command, examples=[
    "campaign run numbers.csv --line sandbox            # nobody is called",
    "campaign run numbers.csv --line main --region US --plan plan.toml",
    "campaign run numbers.csv --line main --rate 2 --retry busy=5m,10m --hours 'mon-fri 09:00-18:00' --yes",
    "campaign run numbers.csv --dry-run                 # read everything, call nobody",
])  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--line", metavar="LINE", help="The line to dial through; needed where there are several.")
@click.option("--name", metavar="NAME", help="The campaign's name; else the file's, with -2, -3 … where it is taken.")
@reading_flags
@plan_flags
@click.option("--results", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME.results.csv, here.")
@click.option("--rejects", type=click.Path(path_type=Path), metavar="FILE", help="Default: NAME.rejects.csv, here.")
@click.option("--dry-run", is_flag=True, help="Read everything and say what would be; store and call nothing.")
@click.option("--detach", is_flag=True, help="Return once it is started; workers elsewhere do the rest.")
@fail_flag
@yes_flag
@json_flag
@quiet_flag
@pass_session
def run_command(
    session: Session, file: Path, line: str | None, name: str | None, dry_run: bool, detach: bool,
    fail_on_unknown: bool, yes: bool, as_json: bool, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    """Dial a CSV from beginning to end: create, upload, start, watch, export.

    Ctrl-C leaves a campaign that can be resumed. Without CAMPAIGN_BROKER_URL everything that is needed runs inside
    this command; with it, this command only writes to the database and watches.
    """
    from campaign.services import uploads

    job = _job(session, file, line, name, given)
    with uploads.open_file(file) as source:
        uploads.preview(source, job.reading)
        if dry_run:
            _rehearse(job, source, as_json=as_json, strict=given["strict"])
            return
        _check_folders(job)
        require_broker(session.settings)
        if detach and session.settings.embedded and workers_seen(session.store) is None:
            raise UsageFault(
                "--detach: nobody would dial; run `campaign up` in another terminal, or leave --detach out"
            )
        _ask(job, source, yes=yes)
        source.seek(0)
        figures, progress = _carry_out(session, job, source, detach=detach, strict=given["strict"], quiet=quiet)
    if not detach:
        _write_files(session, job, figures["campaign"], progress, quiet=quiet and as_json)
    if as_json:
        print_json(figures)
    elif not detach:
        print_dispositions(figures)
    if not detach:
        end(figures, fail_on_unknown=fail_on_unknown)
    if given["strict"] and progress and progress.rejected:
        raise click.exceptions.Exit(3)


def _job(session: Session, file: Path, line: str | None, name: str | None, given: Mapping[str, Any]) -> Job:
    reading = reading_from(session, given)
    plan, chosen = plan_from(given), chosen_line(session, line)
    return Job(file, name or name_of(file), name is not None, chosen, plan, reading, given["results"], given["rejects"])


def name_of(file: Path) -> str:
    """A campaign's name made of a file's."""
    name = re.sub(r"[^\w.@ -]+", "-", file.stem).strip("_.@ -")[:90].strip("_.@ -")
    return name or "campaign"


def _check_folders(job: Job) -> None:
    """Hours later would be a bad time to learn that the results cannot be written."""
    for path in (job.results or Path("results"), job.rejects or Path("rejects")):
        folder = path.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK) or path.is_dir():
            raise UsageFault(f"{path} could not be written at the end; give --results and --rejects in another folder")


def _ask(job: Job, source: BinaryIO, *, yes: bool) -> None:
    """No question where no telephone rings."""
    if yes or job.line.provider == "sandbox":
        return
    many = "the numbers"
    if job.file.stat().st_size <= COUNTED_FIRST:
        many = plural(_rehearsed(job, source).accepted, "number")
    ask(f"Call {many} of {job.file.name} through line {job.line.name} ({job.line.provider})?", yes=yes)


def _rehearsed(job: Job, source: BinaryIO) -> Any:
    from campaign.services import uploads

    return uploads.dry_run(source, job.reading)


def _rehearse(job: Job, source: BinaryIO, *, as_json: bool, strict: bool) -> None:
    done = _rehearsed(job, source)
    rows = {"read": done.rows_read, "accepted": done.accepted, "duplicates": done.duplicates, "rejected": done.rejected}
    if as_json:
        rejects = [
            {"line": r.line_no, "field": r.field, "reason": r.reason, "remedy": r.remedy} for r in done.first_rejects
        ]
        plan = job.plan.model_dump(mode="json", by_alias=True)
        words = {"campaign": job.name, "line": job.line.name, "columns": done.layout.columns, "rows": rows}
        print_json({**words, "plan": plan, "first_rejects": rejects})
    else:
        phone, *others = done.layout.columns
        click.echo(
            f"{job.file.name}: numbers in {phone!r}, {plural(len(others), 'other column')}; line {job.line.name}"
        )
        click.echo(f"{plural(done.rows_read, 'row')}: {rows_in_words(done)}")
        if done.first_rejects:
            print_table(("line", "field", "reason", "remedy"), [r[:4] for r in done.first_rejects])
        note("Nothing was stored and nobody was called.")
    if strict and done.rejected:
        raise click.exceptions.Exit(3)


def _carry_out(
    session: Session, job: Job, source: BinaryIO, *, detach: bool, strict: bool, quiet: bool
) -> "tuple[dict[str, Any], Progress | None]":
    """Create, upload, start and, unless detached, watch to the end."""
    from campaign.services import campaigns, results

    store = session.store
    with ExitStack() as inside:
        check = _start_inside(session, job, inside, quiet=quiet) if not detach else lambda: None
        made = _create(session, job)
        again = f"`campaign upload {made.name} {job.file}` and `campaign start {made.name}` go on."
        session.interrupted = f"Interrupted before the first call; {made.name!r} is a draft: {again}"
        try:
            received = send(session, made.id, source, job.file, job.reading, quiet=quiet)
            progress = await_reading(session, received, quiet=quiet) if strict or not detach else None
        except UsageFault:
            campaigns.cancel(store, made.name, "its file could not be read")
            raise
        if progress:
            note(f"{made.name}: {plural(progress.rows_read, 'row')}: {rows_in_words(progress)}.", quiet=quiet)
        campaigns.start(store, made.name)
        if detach:
            note(f"Started {made.name!r}; `campaign watch {made.name}` shows it.", quiet=quiet)
            return results.summary(store, made.name, session.lines), progress
        session.interrupted = _how_to_resume(session, made.name)
        figures = follow(session, made.name, quiet=quiet, check=check)
        session.interrupted = None
    return figures, progress


def _start_inside(session: Session, job: Job, inside: ExitStack, *, quiet: bool) -> Any:
    """The workers of this machine, where no broker is configured."""
    if not session.settings.embedded:
        return lambda: None
    embedded = inside.enter_context(Embedded(session))
    embedded.start([job.line.name])
    if embedded.joined:
        note(
            "Another command dials on this machine already and does the work, with the lines as it read them.",
            quiet=quiet,
        )
    return embedded.check


def _create(session: Session, job: Job) -> Any:
    """A draft with a free name. Raises UsageFault where the person's own name is taken."""
    from campaign.services import campaigns

    taken = set() if job.named else {view.name for view in campaigns.list_campaigns(session.store)}
    name, number = job.name, 1
    while name in taken:
        number += 1
        name = f"{job.name}-{number}"
    return campaigns.create(session.store, name, job.line.name, job.plan, job.reading.region)


def _how_to_resume(session: Session, name: str) -> str:
    if session.settings.embedded:
        return f"Interrupted. {name!r} is kept as it is: `campaign up` goes on with it, `campaign show {name}` tells."
    return (
        f"Interrupted. Workers go on with {name!r}: `campaign watch {name}` shows it, `campaign pause {name}` stops it."
    )


def _write_files(session: Session, job: Job, name: str, progress: "Progress | None", *, quiet: bool) -> None:
    results = job.results or _free(f"{name}.results", ".csv")
    rows = write_results(session, name, results)
    note(f"Results: {results} ({plural(rows, 'number')})", quiet=quiet)
    if progress and progress.rejected:
        rejects = job.rejects or _free(f"{name}.rejects", ".csv")
        rows = write_rejected(session, name, rejects)
        note(f"Rejected rows, to mend and upload again: {rejects} ({plural(rows, 'row')})", quiet=quiet)


def _free(stem: str, suffix: str) -> Path:
    """A file of our own choosing never replaces one that is there."""
    path, number = Path(stem + suffix), 1
    while path.exists():
        number += 1
        path = Path(f"{stem}-{number}{suffix}")
    return path
