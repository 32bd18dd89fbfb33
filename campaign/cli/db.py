"""``db upgrade`` and ``db reconcile``: the database's tables, and what to do after it lost something."""

from typing import TYPE_CHECKING

import click

from campaign.cli.campaigns import say_who_dials
from campaign.cli.command import Group, Session, json_flag, pass_session, yes_flag
from campaign.cli.output import ask, note, plural, print_json, when
from campaign.domain.errors import UsageFault
from campaign.domain.instants import format_instant, parse_instant

if TYPE_CHECKING:
    from campaign.services.reconciling import Loss


@click.group("db", cls=Group)
def db_command() -> None:
    """The database's tables, and what to do after a restore."""


@db_command.command("upgrade", examples=[
    "campaign db upgrade",
    "CAMPAIGN_DATABASE_URL=postgresql+psycopg://campaign@db/campaign campaign db upgrade",
])  # fmt: skip
@json_flag
@pass_session
def upgrade_command(session: Session, as_json: bool) -> None:
    """Make the tables, or bring them up to date. Safe to repeat, and from several machines at once."""
    from campaign.storage.migrate import current, ensure_schema

    store = session.database
    before = current(store)
    ensure_schema(store)
    after = current(store)
    if as_json:
        print_json({"before": before, "revision": after})
    note(f"The tables are of revision {after}{' already' if before == after else ''}.", quiet=as_json)


@db_command.command("reconcile", examples=[
    "campaign db reconcile",
    "campaign db reconcile --yes --json",
    "campaign db reconcile --since 2026-11-20T03:00:00Z",
])  # fmt: skip
@click.option("--since", metavar="TIME", help="When the backup was made (UTC), where nobody noticed the restore.")
@yes_flag
@json_flag
@pass_session
def reconcile_command(session: Session, since: str | None, yes: bool, as_json: bool) -> None:
    """After a restore: look for the calls that the database forgot, then dial again.

    Calls are looked for at the provider before a number is called again; what it cannot tell is held for you to settle.
    Pauses, cancels, do-not-call entries, erasures and uploads since the backup are forgotten, too: repeat them first.
    """
    from secrets import token_hex

    from campaign.services import reconciling

    known_since = _moment(since)
    loss = reconciling.loss(session.store, known_since)
    if loss.locked or known_since is not None:
        ask(_question(loss), yes=yes)
    loss = reconciling.reconcile(session.store, token_hex(16), known_since)
    if as_json:
        print_json({
            "since": format_instant(loss.since),
            "until": format_instant(loss.until),
            "waiting": dict(loss.waiting),
            "why": loss.why,
        })  # fmt: skip
    note("The workers look for lost calls; a number is dialled when none is left to be found.", quiet=as_json)
    say_who_dials(session)


def _moment(given: str | None) -> float | None:
    try:
        return parse_instant(given) if given is not None else None
    except ValueError as error:
        raise UsageFault(f"--since: {error}") from None


def _question(loss: "Loss") -> str:
    because = f"Dispatch is locked: {loss.why}. " if loss.locked else ""
    numbers = plural(sum(loss.waiting.values()), "number")
    return (
        f"{because}Pauses, cancels, do-not-call entries, erasures and uploads since {when(loss.since)} are forgotten: "
        f"repeat them first. Look for calls between then and {when(loss.until)} to {numbers} that wait, and to all "
        "others before they are called again, and dial on?"
    )
