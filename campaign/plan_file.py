"""``plan.toml``: how a campaign may dial, with single keys laid over it from the command line."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from campaign.domain.errors import UsageFault
from campaign.domain.plan import DAYS, Plan
from campaign.faults import in_words, merged, read_toml, refuse

_LISTS = ("retry", "hours.holidays", "hours.blackout", "hours.windows")
_WINDOW = re.compile(r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?\s+)?(?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d)")


def load_plan(path: Path | None, overrides: Mapping[str, Any]) -> Plan:
    """The plan of the file (or the default one) under ``overrides``: dotted keys, such as ``pace.weight``.

    Text in an override is read as a person writes it: ``retry.busy`` takes ``5m, 15m``; ``hours.windows`` takes
    ``mon-fri 09:00-18:00, sat 10:00-14:00``. Raises UsageFault with every fault at once.
    """
    return build_plan(read_toml(path, "plan") if path else {}, overrides, str(path) if path else "the plan")


def build_plan(document: Mapping[str, Any], overrides: Mapping[str, Any], source: str = "the plan") -> Plan:
    """The same from a document at hand, such as a stored plan. ``source`` names it in a fault."""
    laid_over = _nested(overrides)
    try:
        return Plan.model_validate(merged(document, laid_over))
    except ValidationError as error:
        refuse([f"{key} {_origin(key, overrides, source)}: {fault}" for key, fault in in_words(error, Plan)])
        raise AssertionError("a validation error has at least one fault") from None


def _origin(key: str, overrides: Mapping[str, Any], source: str) -> str:
    given = any(key == name or key.startswith(f"{name}.") for name in overrides)
    return "on the command line" if given else f"in {source}"


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in overrides.items():
        *tables, last = key.split(".")
        branch: dict[str, Any] = {last: _read(key, value)}
        for table in reversed(tables):
            branch = {table: branch}
        document = merged(document, branch)
    return document


def _read(key: str, value: Any) -> Any:
    if not isinstance(value, str) or not key.startswith(_LISTS) or key in ("retry", "hours"):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    return [_window(word) for word in words] if key == "hours.windows" else words


def _window(text: str) -> dict[str, Any]:
    found = _WINDOW.fullmatch(text.lower())
    if found is None:
        raise UsageFault(f"hours.windows on the command line: {text!r} is no window; write it like mon-fri 09:00-18:00")
    window: dict[str, Any] = {"from": found["opens"], "to": found["closes"]}
    if found["first"]:
        window["days"] = list(_days(found["first"], found["last"] or found["first"]))
    return window


def _days(first: str, last: str) -> Iterator[str]:
    """``sat-mon`` runs over the weekend. A word that is no day is left for the plan to refuse."""
    if first not in DAYS or last not in DAYS:
        yield from {first, last} - set(DAYS)
        return
    start = DAYS.index(first)
    for step in range(7):
        yield DAYS[(start + step) % 7]
        if DAYS[(start + step) % 7] == last:
            return
