"""``watch``: follow a campaign until there is nothing left to follow. Starts nothing and stops nothing."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from campaign.cli.command import Command, Session, json_flag, pass_session, quiet_flag
from campaign.cli.live_view import Meter, Screen
from campaign.cli.looking import known_lines, print_figures
from campaign.cli.output import note, print_json
from campaign.cli.vitals import workers_seen
from campaign.domain.errors import NotPossible
from campaign.domain.states import CampaignState
from campaign.domain.verdicts import PauseFault

if TYPE_CHECKING:
    from campaign.domain.line import Line

LOOK_EVERY = 0.3
LOOK_SHARE = 10
"""Looking takes at most one tenth of the time: a look at a million numbers is not free."""

SAY_WHY_EVERY = 2.0

fail_flag = click.option("--fail-on-unknown", is_flag=True, help="Exit code 6 where numbers ended held or unknown.")


@click.command("watch", cls=Command, examples=["campaign watch recall", "campaign watch recall -q --json"])
@click.argument("campaign")
@fail_flag
@json_flag
@quiet_flag
@pass_session
def watch_command(session: Session, campaign: str, fail_on_unknown: bool, as_json: bool, quiet: bool) -> None:
    """Follow a campaign to its end.

    Watching neither starts nor stops anything: Ctrl-C leaves the campaign as it is.
    """
    from campaign.services import campaigns

    if campaigns.get(session.store, campaign).state is CampaignState.DRAFT:
        raise NotPossible(f"campaign {campaign!r} has not been started; `campaign start {campaign}` does")
    session.interrupted = f"Stopped watching; {campaign!r} is as it was."
    _say_who_works(session, campaign)
    figures = follow(session, campaign, quiet=quiet)
    print_json(figures) if as_json else print_figures(figures)
    end(figures, fail_on_unknown=fail_on_unknown)


def _say_who_works(session: Session, campaign: str) -> None:
    if workers_seen(session.store) is None:
        remedy = "`campaign up` in another terminal does" if session.settings.embedded else "start the workers"
        note(f"Nobody is dialling {campaign!r} now: {remedy}.")


def end(figures: Mapping[str, Any], *, fail_on_unknown: bool) -> None:
    """The exit that the figures ask for. Raises NotPossible, click.exceptions.Exit, or returns."""
    name = figures["campaign"]
    if figures["state"] == CampaignState.PAUSED:
        raise NotPossible(f"campaign {name!r} is paused ({figures['why']}); mend it, then `campaign resume {name}`")
    if fail_on_unknown and (figures["targets"]["held"] or figures["dispositions"].get("unknown")):
        raise click.exceptions.Exit(6)


def follow(session: Session, campaign: str, *, quiet: bool, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Show the campaign until it has ended, or until a provider's answer has paused it and nothing is in the air.

    ``check`` is called every second or so and may raise. Returns the figures as ``show --json`` prints them.
    """
    lines = known_lines(session)
    meter, told = Meter(), _Reasons(session, campaign, lines)
    with Screen(quiet=quiet) as screen:
        while True:
            began = time.monotonic()
            figures = _look(session, campaign, lines)
            meter.read(figures, began)
            sentences = told.at(began) if meter.still(began) else []
            screen.show(figures, meter, sentences, began)
            if _over(figures):
                return figures
            check()
            time.sleep(max(LOOK_EVERY, LOOK_SHARE * (time.monotonic() - began)))


def _look(session: Session, campaign: str, lines: "Mapping[str, Line] | None") -> dict[str, Any]:
    from campaign.services import results

    return results.summary(session.store, campaign, lines)


def _over(figures: Mapping[str, Any]) -> bool:
    if figures["state"] in (CampaignState.COMPLETED, CampaignState.CANCELED):
        return not figures["attempts"]["live"]
    by_provider = str(figures["why"] or "").partition(":")[0] in set(PauseFault)
    return figures["state"] == CampaignState.PAUSED and by_provider and not figures["attempts"]["live"]


class _Reasons:
    """Why nothing moves, asked for every two seconds at most."""

    def __init__(self, session: Session, campaign: str, lines: "Mapping[str, Line] | None") -> None:
        self._session, self._campaign, self._lines = session, campaign, lines
        self._asked_at, self._sentences = float("-inf"), list[str]()

    def at(self, now: float) -> list[str]:
        from campaign.services.why import why

        if now - self._asked_at >= SAY_WHY_EVERY:
            self._asked_at = now
            self._sentences = why(self._session.store, self._campaign, None, self._lines)[:4]
        return self._sentences
