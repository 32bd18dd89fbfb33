"""``upload``: a file's numbers into a campaign. The bytes are stored first; reading them is a worker's, or ours."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from campaign.cli.broker_ping import require_broker
from campaign.cli.command import Command, Session, json_flag, pass_session, quiet_flag
from campaign.cli.output import note, on_terminal, plural, print_json
from campaign.cli.vitals import workers_seen
from campaign.domain.errors import UsageFault
from campaign.domain.states import UploadState

if TYPE_CHECKING:
    from campaign.intake.reading import Reading
    from campaign.services.upload_reading import Progress
    from campaign.services.uploads import ReceivedUpload

Function = TypeVar("Function", bound=Callable[..., Any])

LOOK_EVERY = 0.25

_FLAGS = (
    click.option("--region", metavar="CC", help="Region of numbers without a country code, such as US."),
    click.option("--map", "mapping", multiple=True, metavar="phone=COLUMN", help="Which column holds the number."),
    click.option("--encoding", metavar="NAME", help="Of a file that is not UTF-8 or UTF-16: windows-1252, big5, …"),
    click.option("--delimiter", metavar="SIGN", help="comma, semicolon, tab or pipe, where it is not found by itself."),
    click.option("--strict", is_flag=True, help="Exit code 3 where a row was rejected (the good ones are kept)."),
)


def reading_flags(function: Function) -> Function:
    """Adds the flags that say how a file is read; the command hands them to :func:`reading_from`."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def reading_from(session: Session, given: Mapping[str, Any]) -> "Reading":
    """What was declared about the file. Raises UsageFault."""
    from campaign.intake.reading import Reading

    return Reading(
        region=given.get("region") or session.settings.region,
        mapping=_mapping(given.get("mapping") or ()),
        encoding=given.get("encoding"),
        delimiter=given.get("delimiter"),
    ).checked()


def _mapping(words: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for word in words:
        field, equals, column = word.partition("=")
        if not equals or not column:
            raise UsageFault(f"--map {word!r}: write it like --map phone=Mobile")
        pairs[field.strip()] = column
    return pairs


@click.command("upload", cls=Command, examples=[
    "campaign upload recall numbers.csv --region US",
    "campaign upload recall list.txt --map phone=Mobile --delimiter tab --encoding windows-1252",
    "campaign upload recall mended.csv --strict --json",
])  # fmt: skip
@click.argument("campaign")
@click.argument("file", type=click.Path(path_type=Path))
@reading_flags
@click.option("--detach", is_flag=True, help="Return when the bytes are stored; a worker reads them.")
@json_flag
@quiet_flag
@pass_session
def upload_command(
    session: Session, campaign: str, file: Path, detach: bool, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Read the numbers of a CSV into a campaign.

    Its numbers appear all at once, when the file is read to its end. The same file twice adds nothing. A row that
    cannot be read is kept with the reason: `campaign rejects`.
    """
    from campaign.services import campaigns, uploads

    reading = reading_from(session, given)
    view = campaigns.get(session.store, campaign)
    with uploads.open_file(file) as source:
        if not given["region"] and view.region:  # said when the campaign was made: nearer than the settings
            reading = reading_from(session, {**given, "region": view.region})
        uploads.preview(source, reading)
        require_broker(session.settings)
        received = send(session, view.id, source, file, reading, quiet=quiet)
    if detach:
        print_json({"upload": received.id, "state": "received"}) if as_json else note("Stored; a worker reads it.")
        return
    progress = await_reading(session, received, quiet=quiet)
    if as_json:
        print_json(counts(progress, received))
    tell(progress, received, campaign, quiet=quiet or as_json)
    if given["strict"] and progress.rejected:
        raise click.exceptions.Exit(3)


def send(
    session: Session, campaign_id: int, source: BinaryIO, file: Path, reading: "Reading", *, quiet: bool
) -> "ReceivedUpload":
    """Store the file's bytes, with a bar on a terminal."""
    from campaign.services import uploads

    size = file.stat().st_size
    with bar("storing", size, quiet=quiet) as move:
        return uploads.receive(session.store, campaign_id, source, file.name, reading, lambda done: move(done, size))


def await_reading(session: Session, received: "ReceivedUpload", *, quiet: bool) -> "Progress":
    """Until the numbers are visible: read here where no broker is configured, else by whichever worker comes.

    Raises UsageFault where the file turned out to be unreadable; its good rows are not kept then.
    """
    from campaign.services import uploads

    with bar("reading", received.bytes, quiet=quiet) as move:
        progress = uploads.upload_progress(session.store, received.id)
        if session.settings.embedded and progress.state is not UploadState.VISIBLE:
            uploads.read_upload(
                session.store,
                received.id,
                on_progress=lambda p: move(p.bytes_read, p.bytes),
                key=session.erasure_key,
            )
        progress = _when_read(session, received.id, move, quiet=quiet)
    if progress.state is UploadState.FAILED:
        raise UsageFault(f"the file could not be read: {progress.why}")
    return progress


def _when_read(session: Session, upload_id: int, move: "Move", *, quiet: bool) -> "Progress":
    from campaign.services import uploads

    before, session.interrupted = session.interrupted, "Interrupted. The file is stored; a worker reads it to its end."
    warn_at = time.monotonic() + 5.0
    while True:
        progress = uploads.upload_progress(session.store, upload_id)
        move(progress.bytes_read, progress.bytes)
        if progress.state in (UploadState.VISIBLE, UploadState.FAILED):
            session.interrupted = before
            return progress
        if time.monotonic() > warn_at and workers_seen(session.store) is None:
            note("Waiting for a worker to read it: none has been seen lately.", quiet=quiet)
            warn_at = float("inf")
        time.sleep(LOOK_EVERY)


Move = Callable[[int, int], None]


@contextmanager
def bar(what: str, total: int, *, quiet: bool) -> Iterator[Move]:
    """A bar on a terminal, nothing elsewhere; what it gives is told (done, total) in bytes."""
    if quiet or not on_terminal() or total < 1_000_000:
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, size: progress.update(task, completed=done, total=size)


def counts(progress: "Progress", received: "ReceivedUpload") -> dict[str, object]:
    return {
        "upload": received.id,
        "state": str(progress.state),
        "already": received.already,
        "rows": {
            "read": progress.rows_read,
            "accepted": progress.accepted,
            "duplicates": progress.duplicates,
            "rejected": progress.rejected,
        },
    }


def tell(progress: "Progress", received: "ReceivedUpload", campaign: str, *, quiet: bool) -> None:
    if received.already:
        note("This very file is in the campaign already; nothing was added.", quiet=quiet)
        return
    note(f"{plural(progress.rows_read, 'row')}: {rows_in_words(progress)}.", quiet=quiet)
    if progress.rejected:
        note(f"`campaign rejects {campaign} -o mend.csv` gives the rejected rows back with the reasons.", quiet=quiet)


def rows_in_words(progress: Any) -> str:
    return f"{progress.accepted:,} accepted, {progress.duplicates:,} duplicate, {progress.rejected:,} rejected"
