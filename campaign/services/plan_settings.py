"""A plan changed by words: ``retry.busy=5m,10m``, ``hours.windows=mon-fri 09:00-20:00; sat 10:00-14:00``."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.errors import UsageFault
from campaign.domain.plan import DAYS, Plan

_SHORT = {
    "calls_per_second": "pace.calls_per_second",
    "max_in_flight": "pace.max_in_flight",
    "weight": "pace.weight",
    "per_day": "caps.per_day",
}
_RETRIED = [d for d in Disposition if d not in NEVER_RETRIED and d is not Disposition.UNKNOWN]
KEYS: tuple[str, ...] = (
    "max_attempts",
    "on_unknown",
    "conflict_interval",
    "max_conflicts",
    *_SHORT,
    *_SHORT.values(),
    *(f"retry.{disposition}" for disposition in _RETRIED),
    "hours",
    "hours.zone",
    "hours.windows",
    "hours.holidays",
    "hours.blackout",
)
"""What :func:`changed_plan` understands. ``hours=none`` opens all hours; ``none`` takes a limit or a rule away."""

_NOTHING = ("", "none", "off")
_WINDOW = re.compile(r"(?:([a-z,\s-]+?)\s+)?(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})")


def changed_plan(plan: Plan, values: Mapping[str, str]) -> Plan:
    """The whole plan, validated again. Raises UsageFault with one sentence that names the key."""
    written = dumped(plan)
    for key, value in values.items():
        _put(written, key, value.strip())
    try:
        return Plan.model_validate(written)
    except ValidationError as error:
        raise UsageFault(_sentence(error)) from None


def dumped(plan: Plan) -> dict[str, Any]:
    """As it is stored: JSON that ``Plan.model_validate`` reads back to the same plan."""
    return plan.model_dump(mode="json", by_alias=True)


def no_such_key(key: str, keys: tuple[str, ...] = KEYS) -> UsageFault:
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
    return UsageFault(f"{key!r} is not a setting of a campaign; {hint}")


def _put(written: dict[str, Any], key: str, value: str) -> None:
    path = _SHORT.get(key, key)
    if path not in KEYS:
        raise no_such_key(key)
    nothing = value.lower() in _NOTHING
    section, _, name = path.partition(".")
    if path == "hours":
        if not nothing:
            raise UsageFault(f"hours={value!r}: write hours=none, or set hours.windows, hours.zone, hours.holidays")
        written["hours"] = None
    elif section == "retry":
        _put_rule(written["retry"], name, [] if nothing else _listed(value))
    elif section == "hours":
        written["hours"] = {**(written["hours"] or {}), name: _hours_value(name, "" if nothing else value)}
    elif name:
        written[section][name] = None if nothing else value
    else:
        written[path] = value


def _put_rule(rules: dict[str, Any], disposition: str, delays: list[str]) -> None:
    rules.pop(disposition, None)
    if delays:
        rules[disposition] = delays


def _hours_value(name: str, value: str) -> object:
    if name == "windows":
        return [_window(text) for text in value.split(";") if text.strip()]
    return _listed(value) if name in ("holidays", "blackout") else value


def _window(text: str) -> dict[str, Any]:
    found = _WINDOW.fullmatch(text.strip().lower())
    if not found:
        raise UsageFault(f"hours.windows: {text.strip()!r} is not a window; write it like `mon-fri 09:00-20:00`")
    days, opens, closes = found.groups()
    window: dict[str, Any] = {"from": opens.zfill(5), "to": closes.zfill(5)}
    return {**window, "days": _days(days)} if days else window


def _days(text: str) -> list[str]:
    days: list[str] = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise UsageFault(f"hours.windows: {part!r} is not a day or a range of days; days are {', '.join(DAYS)}")
        start, end = [str(day) for day in DAYS].index(first), [str(day) for day in DAYS].index(last or first)
        days.extend(DAYS[i % 7] for i in range(start, end + 1 + (7 if end < start else 0)))
    return days


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _sentence(error: ValidationError) -> str:
    """The first fault; pydantic's own text without its prefix."""
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "plan"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"
