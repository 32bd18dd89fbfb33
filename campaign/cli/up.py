"""``up``: everything a single machine needs, until Ctrl-C."""

import time
from typing import Any

import click

from campaign.cli.broker_ping import require_broker
from campaign.cli.command import Command, Session, pass_session, quiet_flag
from campaign.cli.embedded import Embedded
from campaign.cli.output import note

LOOK_EVERY = 1.0


@click.command("up", cls=Command, examples=["campaign up", "campaign up -q"])
@quiet_flag
@pass_session
def up_command(session: Session, quiet: bool) -> None:
    """Everything a single machine needs, until Ctrl-C.

    Dials every running campaign, and those that are started meanwhile. With CAMPAIGN_BROKER_URL the workers run
    elsewhere, and this only watches.
    """
    session.lines  # noqa: B018 - whatever is wrong with them is said before anything starts
    require_broker(session.settings)
    news = _News(session, quiet=quiet)
    try:
        if not session.settings.embedded:
            note("CAMPAIGN_BROKER_URL is set: the workers run elsewhere (celery -A workers worker). Watching.")
            _wait(news)
        with Embedded(session) as embedded:
            embedded.start(list(session.lines))
            note(_ready(session, embedded), quiet=quiet)
            _wait(news, embedded)
    except KeyboardInterrupt:  # the way that this command ends
        note("Stopped; running campaigns go on with the next `campaign up`.", quiet=quiet)


def _ready(session: Session, embedded: Embedded) -> str:
    if embedded.joined:
        return "Another command dials on this machine already; this one takes over when it ends. Ctrl-C ends this one."
    return f"Dialling every running campaign of {session.settings.home}; Ctrl-C stops."


def _wait(news: "_News", embedded: Embedded | None = None) -> None:
    while True:
        began = time.monotonic()
        news.tell()
        if embedded is not None:
            embedded.check()
        time.sleep(max(LOOK_EVERY, 20 * (time.monotonic() - began)))  # counting millions is not free


class _News:
    """One line whenever a campaign's state changes."""

    def __init__(self, session: Session, *, quiet: bool) -> None:
        # Imported before anybody is told that Ctrl-C stops us: within an import it would end Python by the signal.
        from campaign.services import results

        self._overview, self._store, self._quiet = results.overview, session.store, quiet
        self._known: dict[str, str] | None = None

    def tell(self) -> None:
        rows = self._overview(self._store)
        known, self._known = self._known, {row["campaign"]: row["state"] for row in rows}
        for row in reversed(rows):
            before = row["state"] if known is None else known.get(row["campaign"])
            if before != row["state"] or (known is None and row["state"] in ("running", "paused")):
                note(_line(row), quiet=self._quiet)


def _line(row: dict[str, Any]) -> str:
    targets = row["targets"]
    because = f" ({row['why']})" if row["why"] else ""
    return (
        f"{row['campaign']}: {row['state']}{because}, {targets['done']:,} of {targets['total']:,} done, "
        f"{targets['waiting']:,} waiting"
    )
