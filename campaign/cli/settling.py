"""``settle``: a person decides about numbers of which nobody can tell whether they rang."""

from typing import TYPE_CHECKING

import click

from campaign.cli.campaigns import say_who_dials
from campaign.cli.command import Command, Session, json_flag, pass_session, yes_flag
from campaign.cli.numbers_given import any_e164
from campaign.cli.output import ask, note, plural, print_json, print_table, when

if TYPE_CHECKING:
    from campaign.services.settle_by_person import Doubt

_SHOWN = 1000


@click.command("settle", cls=Command, examples=[
    "campaign settle recall",
    "campaign settle recall --as no_answer",
    "campaign settle recall --as not_placed --number +14155550100 --yes",
    "campaign settle recall --as unknown --unconfirmed",
])  # fmt: skip
@click.argument("campaign")
@click.option("--as", "decision", metavar="WORD", help="A disposition, retry (it counts, call again), or not_placed.")
@click.option("--number", "numbers", multiple=True, metavar="NUMBER", help="Only this one; repeatable.")
@click.option("--unconfirmed", is_flag=True, help="Also calls that are still being looked for.")
@yes_flag
@json_flag
@pass_session
def settle_command(
    session: Session, campaign: str, decision: str | None, numbers: tuple[str, ...], unconfirmed: bool, yes: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Decide about numbers of which nobody can tell whether they rang.

    Without --as: the list of what is to be decided. `retry` and `not_placed` call again: whoever says so, signs for it.
    """
    from campaign.services import settle_by_person as settling

    doubts = settling.to_settle(session.store, campaign, _SHOWN)
    if decision is None:
        _print_doubts(doubts, as_json)
        return
    phones = [any_e164(number, session.settings.region) for number in numbers] or None
    again = " They will be called again, and may ring a second time." if decision in ("retry", "not_placed") else ""
    many = plural(len(phones), "number") if phones else "every held number"
    ask(f"Settle {many} of {campaign!r} as {decision}?{again}", yes=yes)
    done = settling.settle(session.store, campaign, decision, phones, unconfirmed=unconfirmed)
    if as_json:
        print_json({"held": done.held, "unconfirmed": done.unconfirmed, "untouched": done.untouched})
    left = f"; {plural(done.untouched, 'number')} had nothing to decide" if done.untouched else ""
    note(f"Settled {plural(done.held + done.unconfirmed, 'number')} as {decision}{left}.", quiet=as_json)
    if again:
        say_who_dials(session)


def _print_doubts(doubts: "list[Doubt]", as_json: bool) -> None:
    if as_json:
        print_json([_data(doubt) for doubt in doubts])
        return
    if not doubts:
        note("There is nothing to decide.")
        return
    headers = ("number", "state", "attempts", "line", "sent", "looked for until", "reason")
    print_table(
        headers,
        [(d.phone, d.state, d.attempts, d.line, when(d.sent_at), when(d.give_up_at), d.reason) for d in doubts],
    )
    if len(doubts) == _SHOWN:
        note(f"These are the first {_SHOWN}; there may be more.")


def _data(doubt: "Doubt") -> dict[str, object]:
    from campaign.domain.instants import format_instant

    return {
        "phone": doubt.phone,
        "state": doubt.state,
        "reason": doubt.reason,
        "attempts": doubt.attempts,
        "line": doubt.line,
        "sent_at": format_instant(doubt.sent_at),
        "provider_call_id": doubt.call_id,
        "next_look_at": format_instant(doubt.next_look_at),
        "give_up_at": format_instant(doubt.give_up_at),
    }
