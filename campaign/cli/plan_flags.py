"""Every key of a plan as a flag, laid over the plan's file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from campaign.domain.errors import UsageFault

if TYPE_CHECKING:
    from campaign.domain.plan import Plan

Function = TypeVar("Function", bound=Callable[..., Any])

KEYS: Mapping[str, str] = {
    "max_attempts": "max_attempts",
    "hours": "hours.windows",
    "hours_zone": "hours.zone",
    "rate": "pace.calls_per_second",
    "in_flight": "pace.max_in_flight",
    "weight": "pace.weight",
    "per_day": "caps.per_day",
    "conflict_interval": "conflict_interval",
    "max_conflicts": "max_conflicts",
    "on_unknown": "on_unknown",
}
"""Flag -> key of the plan. Beside these: ``--retry`` (``retry``), ``--holiday`` and ``--blackout`` (lists of days)."""

_FLAGS = (
    click.option("--plan", "plan_file", metavar="FILE", type=click.Path(path_type=Path), help="Plan file (TOML)."),
    click.option("--max-attempts", metavar="N", help="Most real calls to one number."),
    click.option(
        "--retry", multiple=True, metavar="RULE", help="busy=5m,10m: when to try again; repeatable; none: never."
    ),
    click.option("--rate", metavar="R", help="Most calls per second of this campaign, beside its line's."),
    click.option("--in-flight", metavar="N", help="Most calls at once of this campaign, beside its line's."),
    click.option("--weight", metavar="W", help="Share of the line beside other campaigns (1)."),
    click.option("--hours", metavar="WINDOWS", help="mon-fri 09:00-18:00, sat 10:00-14:00: when calls may ring."),
    click.option("--hours-zone", metavar="ZONE", help="target (the number's own zone), or one like Europe/Berlin."),
    click.option("--holiday", multiple=True, metavar="DAY", help="2026-12-25: no calls; repeatable."),
    click.option("--blackout", multiple=True, metavar="DAY", help="2026-11-03: no calls; repeatable."),
    click.option("--per-day", metavar="N", help="Most real calls to one number in 24 hours, over all campaigns."),
    click.option("--conflict-interval", metavar="TIME", help="How long to wait while somebody else's call holds it."),
    click.option("--max-conflicts", metavar="N", help="How often to wait so."),
    click.option("--on-unknown", metavar="WORD", help="hold, retry or done: a call of which nobody knows the end."),
)


def plan_flags(function: Function) -> Function:
    """Adds the flags; the command gets them as keywords and hands them to :func:`plan_from`."""
    for flag in reversed(_FLAGS):
        function = flag(function)
    return function


def plan_from(given: Mapping[str, Any]) -> "Plan":
    """Raises UsageFault with every fault of the file and the flags at once."""
    from campaign.config import load_plan

    overrides = {key: given[flag] for flag, key in KEYS.items() if given.get(flag) is not None}
    for flag, key in (("holiday", "hours.holidays"), ("blackout", "hours.blackout")):
        if given.get(flag):
            overrides[key] = ",".join(given[flag])
    overrides.update(_retry_rules(given.get("retry") or ()))
    return _in_a_known_zone(load_plan(given.get("plan_file"), overrides))


def _retry_rules(rules: tuple[str, ...]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for rule in rules:
        disposition, equals, delays = rule.partition("=")
        if rule.strip().lower() == "none":
            overrides.update(_no_retries())
        elif not equals:
            raise UsageFault(f"--retry {rule!r}: write it like busy=5m,10m, or none for no retries at all")
        else:
            overrides[f"retry.{disposition.strip()}"] = "" if delays.strip().lower() == "none" else delays
    return overrides


def _no_retries() -> dict[str, str]:
    from campaign.domain.dispositions import NEVER_RETRIED, Disposition

    retried = (word for word in Disposition if word not in NEVER_RETRIED and word is not Disposition.UNKNOWN)
    return {f"retry.{word}": "" for word in retried}


def _in_a_known_zone(plan: "Plan") -> "Plan":
    """A zone that nobody knows would keep every call waiting."""
    from campaign.domain.instants import zone_named

    if plan.hours is not None and plan.hours.zone != "target":
        try:
            zone_named(plan.hours.zone)
        except ValueError as error:
            raise UsageFault(f"hours.zone: {error}; or target, the zone of each number") from None
    return plan
