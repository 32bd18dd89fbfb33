"""``retry`` and ``retries``: try again whoever ended so, at once, at a time or on a schedule."""

from typing import TYPE_CHECKING

import click

from campaign.cli.campaigns import say_who_dials
from campaign.cli.command import Command, Session, json_flag, pass_session, yes_flag
from campaign.cli.output import ask, note, print_json, print_table, when

if TYPE_CHECKING:
    from campaign.services.retry_batches import Batch


@click.command("retry", cls=Command, examples=[
    "campaign retry recall --disposition busy,no_answer",
    "campaign retry recall --disposition no_answer --at '2026-11-23 10:00' --zone Europe/Berlin",
    "campaign retry recall --disposition busy --every '0 10 * * mon-fri' --zone America/New_York",
    "campaign retry recall --end 3",
])  # fmt: skip
@click.argument("campaign")
@click.option("--disposition", "dispositions", multiple=True, metavar="WORDS", help="busy,no_answer: whom; repeatable.")
@click.option("--at", metavar="TIME", help="When, in --zone; without it at once.")
@click.option("--every", metavar="CRON", help="On a schedule: minute hour day month weekday.")
@click.option("--zone", default="UTC", show_default=True, metavar="ZONE", help="IANA zone of --at and --every.")
@click.option("--end", type=int, metavar="BATCH", help="Take a planned batch back, by its number.")
@yes_flag
@json_flag
@pass_session
def retry_command(
    session: Session, campaign: str, dispositions: tuple[str, ...], at: str | None, every: str | None, zone: str,
    end: int | None, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Try again, now, at a time or on a schedule, whoever ended so.

    Every retry passes the same gates as a first call: hours, do-not-call, caps, pace.
    """
    from campaign.services import retry_batches

    if end is not None:
        retry_batches.end_batch(session.store, campaign, end)
        note(f"Batch {end} will not fire again.", quiet=as_json)
        return
    words = [word.strip() for given in dispositions for word in given.split(",") if word.strip()]
    retry_batches.check_batch(session.store, campaign, words, at, every, zone)
    ask(f"Call again every number of {campaign!r} that ended {' or '.join(words)}?", yes=yes)
    batch = retry_batches.plan_batch(session.store, campaign, words, at, every, zone)
    if as_json:
        print_json(_data(batch))
    note(f"Batch {batch.id} is planned for {when(batch.next_fire_at)}.", quiet=as_json)
    say_who_dials(session)


@click.command("retries", cls=Command, examples=["campaign retries recall", "campaign retries recall --json"])
@click.argument("campaign")
@json_flag
@pass_session
def retries_command(session: Session, campaign: str, as_json: bool) -> None:
    """The retry batches of a campaign and what each fire did."""
    from campaign.services import retry_batches

    batches = retry_batches.list_batches(session.store, campaign)
    if as_json:
        print_json([_data(batch) for batch in batches])
        return
    rows: list[tuple[object, ...]] = []
    for batch in batches:
        said = (batch.id, ",".join(batch.dispositions), batch.every or "once", batch.zone)
        rows.append((*said, when(batch.next_fire_at), None, None, None))
        rows += [
            (batch.id, "", "", "", "", when(fire.fired_at), fire.targets, fire.passed_over) for fire in batch.fires
        ]
    print_table(("batch", "dispositions", "every", "zone", "next", "fired", "numbers", "passed over"), rows)


def _data(batch: "Batch") -> dict[str, object]:
    from campaign.domain.instants import format_instant

    return {
        "batch": batch.id,
        "campaign": batch.campaign,
        "dispositions": [str(word) for word in batch.dispositions],
        "every": batch.every,
        "zone": batch.zone,
        "next_fire_at": format_instant(batch.next_fire_at),
        "made_at": format_instant(batch.made_at),
        "fires": [
            {
                "due_at": format_instant(fire.due_at),
                "fired_at": format_instant(fire.fired_at),
                "targets": fire.targets,
                "passed_over": fire.passed_over,
            }
            for fire in batch.fires
        ],
    }
