"""``db upgrade``: the database's tables."""

import click

from campaign.cli.command import Group, Session, json_flag, pass_session
from campaign.cli.output import note, print_json


@click.group("db", cls=Group)
def db_command() -> None:
    """The database's tables."""


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
