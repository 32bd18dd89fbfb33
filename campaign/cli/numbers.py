"""``targets`` and ``attempts``: the numbers of a campaign, and every call to one of them."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from campaign.cli.command import Command, Session, json_flag, pass_session
from campaign.cli.numbers_given import any_e164, chosen_region
from campaign.cli.output import note, print_json, print_json_rows, print_table, when
from campaign.domain.errors import NotFound
from campaign.domain.states import TargetState

if TYPE_CHECKING:
    from campaign.services.results import AttemptView, TargetView

_PAGE = 1000


@click.command("targets", cls=Command, examples=[
    "campaign targets recall",
    "campaign targets recall --state held --json",
    "campaign targets recall --all",
])  # fmt: skip
@click.argument("campaign")
@click.option("--state", type=click.Choice([str(state) for state in TargetState]), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="No limit.")
@json_flag
@pass_session
def targets_command(
    session: Session, campaign: str, state: str | None, limit: int, everything: bool, as_json: bool
) -> None:
    """The numbers of a campaign and where each one stands."""
    views = _targets(session, campaign, TargetState(state) if state else None)
    shown = views if everything else islice(views, limit)
    if as_json:
        print_json_rows(_target_data(view) for view in shown)
        return
    rows = [
        (v.phone, v.state, v.disposition, v.attempts, when(v.due_at), when(v.last_attempt_at), v.reason) for v in shown
    ]
    print_table(("number", "state", "disposition", "attempts", "due", "last attempt", "reason"), rows)
    if not everything and next(views, None) is not None:
        note(f"These are the first {limit}; --limit or --all shows more.")


def _targets(session: Session, campaign: str, state: TargetState | None) -> "Iterator[TargetView]":
    from campaign.services import results

    after = 0
    while page := results.targets_page(session.store, campaign, state=state, after=after, limit=_PAGE):
        yield from page
        after = page[-1].id


def _target_data(view: "TargetView") -> dict[str, object]:
    from campaign.domain.instants import format_instant

    return {
        "phone": view.phone,
        "state": str(view.state),
        "disposition": view.disposition,
        "attempts": view.attempts,
        "due_at": format_instant(view.due_at),
        "reason": view.reason,
        "first_attempt_at": format_instant(view.first_attempt_at),
        "last_attempt_at": format_instant(view.last_attempt_at),
        "variables": dict(view.variables),
    }


@click.command("attempts", cls=Command, examples=[
    "campaign attempts +14155550100",
    "campaign attempts '(415) 555-0100' --region US --campaign recall --json",
])  # fmt: skip
@click.argument("number")
@click.option("--campaign", metavar="CAMPAIGN", help="Only in this one.")
@click.option("--region", metavar="CC", help="Region of a number without a country code.")
@json_flag
@pass_session
def attempts_command(session: Session, number: str, campaign: str | None, region: str | None, as_json: bool) -> None:
    """Every call to one number."""
    from campaign.services import results

    phone = any_e164(number, chosen_region(session, region))
    views = results.attempts_of_number(session.store, phone, campaign)
    if as_json:
        print_json([_attempt_data(view) for view in views])
        return
    if not views:
        raise NotFound("this number has never been called; `campaign why CAMPAIGN NUMBER` says why")
    headers = (
        "campaign",
        "line",
        "state",
        "disposition",
        "sent",
        "answered",
        "ended",
        "talk",
        "provider's id",
        "reason",
    )
    print_table(headers, [
        (v.campaign, v.line, v.state, v.disposition, when(v.sent_at), when(v.answered_at), when(v.ended_at),
         v.talk_seconds, v.call_id, v.reason)
        for v in views
    ])  # fmt: skip


def _attempt_data(view: "AttemptView") -> dict[str, object]:
    from campaign.domain.instants import format_instant

    times = ("claimed_at", "sent_at", "placed_at", "answered_at", "ended_at", "next_look_at", "give_up_at")
    return {
        "campaign": view.campaign,
        "line": view.line,
        "state": view.state,
        "disposition": view.disposition,
        "counted": view.counted,
        **{name: format_instant(getattr(view, name)) for name in times},
        "talk_seconds": view.talk_seconds,
        "provider_call_id": view.call_id,
        "verdict": view.verdict,
        "provider_word": view.raw,
        "reason": view.reason,
    }
