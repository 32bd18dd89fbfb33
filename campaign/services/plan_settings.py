"""A campaign's plan changed by words: ``retry.busy=5m,10m``, ``calls_per_second=2``, ``hours=none``."""

from collections.abc import Mapping
from typing import Any

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.errors import UsageFault
from campaign.domain.plan import Plan
from campaign.faults import nearest
from campaign.plan_file import build_plan

_SHORT = {
    "calls_per_second": "pace.calls_per_second",
    "max_in_flight": "pace.max_in_flight",
    "weight": "pace.weight",
    "per_day": "caps.per_day",
}
_RULES = [f"retry.{d}" for d in Disposition if d not in NEVER_RETRIED and d is not Disposition.UNKNOWN]
_LISTS = ("hours.windows", "hours.holidays", "hours.blackout")
_REMOVABLE = ("pace.calls_per_second", "pace.max_in_flight", "caps.per_day", "hours")
KEYS: tuple[str, ...] = (
    *("max_attempts", "on_unknown", "conflict_interval", "max_conflicts"),
    *_SHORT,
    *_SHORT.values(),
    *_RULES,
    *("hours", "hours.zone"),
    *_LISTS,
)
"""What :func:`changed_plan` understands. ``hours=none`` opens all hours; ``none`` takes a limit or a rule away."""

_NOTHING = ("", "none", "off")


def changed_plan(plan: Plan, values: Mapping[str, str]) -> Plan:
    """The whole plan, validated again; values are written as on the command line (see :func:`build_plan`).

    Raises UsageFault with a sentence that names the key.
    """
    document = dumped(plan)
    laid_over: dict[str, Any] = {}
    for key, value in values.items():
        path = _SHORT.get(key, key)
        if path not in KEYS:
            raise no_such_key(key)
        if value.strip().lower() in _NOTHING:
            _take_away(document, path)
        else:
            laid_over[path] = value.strip()
    return build_plan(document, laid_over, "the campaign")


def dumped(plan: Plan) -> dict[str, Any]:
    """As it is stored: JSON that ``Plan.model_validate`` reads back to the same plan."""
    return plan.model_dump(mode="json", by_alias=True)


def no_such_key(key: str, *, more: tuple[str, ...] = ()) -> UsageFault:
    return UsageFault(f"{key!r} is not a setting of a campaign; {nearest(key, (*KEYS, *more))}")


def _take_away(document: dict[str, Any], path: str) -> None:
    table, _, key = path.partition(".")
    if path in _RULES:
        document["retry"].pop(key, None)
    elif path in _LISTS:
        document["hours"] = {**(document["hours"] or {}), key: []}
    elif path in _REMOVABLE and key:
        document[table][key] = None
    elif path in _REMOVABLE:
        document[path] = None
    else:
        raise UsageFault(f"{path} cannot be taken away; give it a value")
