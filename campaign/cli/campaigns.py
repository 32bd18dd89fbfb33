"""``create start pause resume cancel set``: making a campaign and moving it through its life."""

from typing import TYPE_CHECKING, Any

import click

from campaign.cli.broker_ping import require_broker
from campaign.cli.command import Command, Session, json_flag, pass_session, yes_flag
from campaign.cli.numbers_given import chosen_region
from campaign.cli.output import ask, note, plural, print_json
from campaign.cli.plan_flags import plan_flags, plan_from
from campaign.domain.errors import NotFound, UsageFault

if TYPE_CHECKING:
    from campaign.domain.line import Line
    from campaign.services.campaigns import CampaignView


def chosen_line(session: Session, name: str | None) -> "Line":
    """The line called so; without a name the only one that is configured. Raises UsageFault, NotFound."""
    lines = session.lines
    if name is None:
        configured = [line for line in lines if line != "sandbox"]
        if len(configured) > 1:
            raise UsageFault(f"--line: say which one; there are {', '.join(sorted(lines))}")
        name = configured[0] if configured else "sandbox"
    if name not in lines:
        raise NotFound(f"--line {name!r}: no such line; there are {', '.join(sorted(lines))}")
    return lines[name]


@click.command("create", cls=Command, examples=[
    "campaign create recall --line sandbox",
    "campaign create recall --line main --plan plan.toml --retry busy=5m,10m --hours 'mon-fri 09:00-18:00'",
])  # fmt: skip
@click.argument("name")
@click.option("--line", metavar="LINE", help="The line to dial through; needed where there are several.")
@click.option("--region", metavar="CC", help="Region of numbers without a country code, such as US.")
@plan_flags
@json_flag
@pass_session
def create_command(
    session: Session, name: str, line: str | None, region: str | None, as_json: bool, **plan: Any
) -> None:
    """Make a campaign: a name, a line and a plan."""
    from campaign.services import campaigns

    made_plan, chosen, region = plan_from(plan), chosen_line(session, line), chosen_region(session, region)
    made = campaigns.create(session.store, name, chosen.name, made_plan, region)
    if as_json:
        print_json(summary(made))
    note(f"Created {made.name!r} on line {made.line}. Next: campaign upload {made.name!r} FILE.csv", quiet=as_json)


def summary(view: "CampaignView") -> dict[str, object]:
    """A campaign as ``--json`` prints it where no figures are asked for."""
    from campaign.domain.instants import format_instant

    return {
        "campaign": view.name,
        "state": str(view.state),
        "why": view.why,
        "line": view.line,
        "region": view.region,
        "plan": view.plan.model_dump(mode="json", by_alias=True),
        "created_at": format_instant(view.created_at),
        "started_at": format_instant(view.started_at),
        "ended_at": format_instant(view.ended_at),
    }


def _tell(view: "CampaignView", as_json: bool, text: str) -> None:
    if as_json:
        print_json(summary(view))
    else:
        note(text)


@click.command("start", cls=Command, examples=["campaign start recall", "campaign start recall --yes --json"])
@click.argument("campaign")
@yes_flag
@json_flag
@pass_session
def start_command(session: Session, campaign: str, yes: bool, as_json: bool) -> None:
    """Let a campaign dial."""
    from campaign.services import campaigns

    view = campaigns.get(session.store, campaign)
    require_broker(session.settings)
    if view.state == "draft" and _rings_people(session, view.line):
        ask(f"Start {campaign!r}: its numbers will be called through line {view.line}.", yes=yes)
    _tell(campaigns.start(session.store, campaign), as_json, f"Started {campaign!r}.")
    say_who_dials(session)


def _rings_people(session: Session, line: str) -> bool:
    return line not in session.lines or session.lines[line].provider != "sandbox"


def say_who_dials(session: Session) -> None:
    """Where nothing runs yet, say what would."""
    from campaign.cli.vitals import workers_seen

    if workers_seen(session.store) is None:
        remedy = "`campaign up` dials" if session.settings.embedded else "start `celery -A workers worker` and beat"
        note(f"No worker has been seen lately: {remedy}.")


@click.command("pause", cls=Command, examples=["campaign pause recall"])
@click.argument("campaign")
@click.option("--why", metavar="TEXT", help="The reason, shown by show and why.")
@json_flag
@pass_session
def pause_command(session: Session, campaign: str, why: str | None, as_json: bool) -> None:
    """Stop dialling; calls in the air end by themselves."""
    from campaign.services import campaigns

    words = {"why": why} if why else {}
    paused = campaigns.pause(session.store, campaign, **words)
    _tell(paused, as_json, f"Paused {campaign!r}; `campaign resume {campaign}` goes on.")


@click.command("resume", cls=Command, examples=["campaign resume recall"])
@click.argument("campaign")
@json_flag
@pass_session
def resume_command(session: Session, campaign: str, as_json: bool) -> None:
    """Let a paused campaign dial again."""
    from campaign.services import campaigns

    _tell(campaigns.resume(session.store, campaign), as_json, f"Resumed {campaign!r}.")
    say_who_dials(session)


@click.command(
    "cancel", cls=Command, examples=["campaign cancel recall", "campaign cancel recall --why 'wrong list' --yes"]
)
@click.argument("campaign")
@click.option("--why", metavar="TEXT", help="The reason, kept with the campaign.")
@yes_flag
@json_flag
@pass_session
def cancel_command(session: Session, campaign: str, why: str | None, yes: bool, as_json: bool) -> None:
    """End a campaign for good; whoever waits is not called."""
    from campaign.services import campaigns, results

    figures = results.summary(session.store, campaign)
    waiting = figures["targets"]["waiting"]
    if figures["state"] != "canceled":
        ask(f"Cancel {campaign!r} for good? {plural(waiting, 'number')} waiting will not be called.", yes=yes)
    words = {"why": why} if why else {}
    _tell(campaigns.cancel(session.store, campaign, **words), as_json, f"Canceled {campaign!r}.")


@click.command("set", cls=Command, examples=[
    "campaign set recall calls_per_second=2 max_in_flight=20",
    "campaign set recall retry.busy=5m,10m 'hours.windows=mon-fri 09:00-20:00' line=second",
])  # fmt: skip
@click.argument("campaign")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_flag
@pass_session
def set_command(session: Session, campaign: str, values: tuple[str, ...], as_json: bool) -> None:
    """Change the plan or the line of a campaign, also while it runs.

    VALUE none takes a limit, a retry rule or the hours away. Takes effect within two seconds.
    """
    from campaign.services import campaigns

    wanted = _pairs(values)
    known = session.lines if "line" in wanted else None
    view = campaigns.set_values(session.store, campaign, wanted, known)
    _tell(view, as_json, f"Changed {campaign!r}: {', '.join(f'{key}={value}' for key, value in wanted.items())}.")


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in values:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise UsageFault(f"{word!r}: write it like calls_per_second=2")
        pairs[key.strip().replace("-", "_")] = value.strip()
    return pairs
