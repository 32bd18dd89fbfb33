"""``list show why``: how campaigns stand."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from campaign.cli.command import Command, Session, json_flag, pass_session
from campaign.cli.numbers_given import any_e164
from campaign.cli.output import note, print_json, print_table
from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.domain.line import Line


@click.command("list", cls=Command, examples=["campaign list", "campaign list --json"])
@json_flag
@pass_session
def list_command(session: Session, as_json: bool) -> None:
    """Every campaign, the newest first."""
    from campaign.services import results

    rows = results.overview(session.store)
    if as_json:
        print_json(rows)
    elif not rows:
        note("There is no campaign yet; `campaign run FILE.csv` makes and dials one.")
    else:
        print_table(("campaign", "state", "line", "numbers", "done", "waiting", "calling", "held", "skipped", "why"), [
            (row["campaign"], row["state"], row["line"],
             *(row["targets"][word] for word in ("total", "done", "waiting", "calling", "held", "skipped")), row["why"])
            for row in rows
        ])  # fmt: skip


@click.command("show", cls=Command, examples=["campaign show recall", "campaign show recall --json"])
@click.argument("campaign")
@json_flag
@pass_session
def show_command(session: Session, campaign: str, as_json: bool) -> None:
    """One campaign in figures."""
    from campaign.services import results

    figures = results.summary(session.store, campaign, known_lines(session))
    print_json(figures) if as_json else print_figures(figures)


def known_lines(session: Session) -> "Mapping[str, Line] | None":
    """The configured lines, or None with a note: who only looks may do so without the keys."""
    try:
        return session.lines
    except UsageFault as fault:
        note(f"The lines are not shown: {fault}")
        return None


def print_figures(figures: Mapping[str, Any]) -> None:
    because = f" ({figures['why']})" if figures["why"] else ""
    click.echo(f"{figures['campaign']}: {figures['state']}{because}")
    for part in ("rows", "targets", "attempts"):
        click.echo(f"  {part:<12} {_in_words(figures[part])}")
    for name, line in figures["lines"].items():
        limits = f"{line['calls_per_second'] or '?'} calls/s, {line['max_in_flight'] or '?'} at once"
        click.echo(f"  line {name:<7} {line['state']}, {limits}")
    click.echo(f"  started      {figures['started_at'] or '-'}\n  ended        {figures['ended_at'] or '-'}")
    if figures["dispositions"]:
        click.echo("")
        print_dispositions(figures)


def print_dispositions(figures: Mapping[str, Any]) -> None:
    """How the numbers ended, the most frequent first, with what has no end yet below."""
    targets = figures["targets"]
    total = max(targets["total"], 1)
    counts = sorted(figures["dispositions"].items(), key=lambda item: -item[1])
    counts += [(state, targets[state]) for state in ("skipped", "held", "waiting", "calling") if targets[state]]
    rows = [(word, f"{count:,}", f"{100 * count / total:.1f} %") for word, count in counts]
    print_table(("disposition", "numbers", "share"), [*rows, ("total", f"{targets['total']:,}", "")])


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


@click.command("why", cls=Command, examples=["campaign why recall", "campaign why recall +14155550100"])
@click.argument("campaign")
@click.argument("number", required=False)
@json_flag
@pass_session
def why_command(session: Session, campaign: str, number: str | None, as_json: bool) -> None:
    """Why a campaign, or a number in it, is not being called now."""
    from campaign.services.why import why

    phone = any_e164(number, session.settings.region) if number else None
    sentences = why(session.store, campaign, phone, known_lines(session), session.erasure_key)
    if as_json:
        print_json({"campaign": campaign, "why": sentences})
        return
    for sentence in sentences:
        click.echo(sentence)
