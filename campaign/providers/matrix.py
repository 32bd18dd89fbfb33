"""Writes ``docs/providers.md`` from the provider classes: ``python -m campaign.providers.matrix > docs/providers.md``.

Nothing in that page is typed by hand; a test fails where the page and the classes disagree.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from campaign.domain.durations import format_duration
from campaign.providers.port import Capabilities, Provider
from campaign.providers.registry import PROVIDERS, provider_class

_HEAD = """# What each provider can do

Written by `python -m campaign.providers.matrix` from the classes in `campaign/providers/`; do not edit.
What is not offered is never tried: the engine asks these declarations before it asks a provider.
"""

_ROWS: tuple[tuple[str, Callable[[Capabilities], str]], ...] = (
    ("Results by asking", lambda can: _yes(can.poll)),
    ("calls in one question", lambda can: str(can.poll_batch) if can.poll else "–"),
    ("questions per second, as documented", lambda can: f"{can.polls_per_second:g}" if can.polls_per_second else "–"),
    ("Results or hints by webhook", lambda can: _yes(can.webhook)),
    ("A lost answer is found by our id", lambda can: _yes(can.find_by_our_id)),
    ("A lost answer is found by number and time", lambda can: _yes(can.find_by_number)),
    ("A conflict proves that the call was placed", lambda can: _yes(can.conflict_proves)),
    ("first look for a lost answer after", lambda can: format_duration(can.looks_after) if can.find else "–"),
    ("a list may lag by", lambda can: format_duration(can.list_lag) if can.find else "–"),
    ("may hold a call before it rings for", lambda can: format_duration(can.queue_delay)),
    ("A call can be cancelled", lambda can: _yes(can.cancel)),
    ("Takes the variables of the CSV", lambda can: _yes(can.variables)),
    ("Can dial again by itself", lambda can: _yes(can.own_retry)),
)


def render() -> str:
    """The whole page."""
    kinds = [provider_class(name) for name in PROVIDERS]
    rows = [[label, *(tell(kind.capabilities) for kind in kinds)] for label, tell in _ROWS]
    parts = [_HEAD, _table(["", *(f"`{kind.name}`" for kind in kinds)], rows)]
    parts += [_section(kind) for kind in kinds]
    return "\n".join(parts)


def _section(kind: type[Provider]) -> str:
    secrets = [f"`{name}`" for name in sorted(kind.credentials)]
    optional = set(getattr(kind, "optional_credentials", ())) | (
        {"webhook_secret"} if kind.capabilities.webhook else set()
    )
    secrets += [f"`{name}` (optional)" for name in sorted(optional)]
    url = (
        f"`{kind.default_base_url}` unless the line says otherwise"
        if kind.default_base_url
        else "your own, in the line"
    )
    lines = [f"## {kind.name}\n", f"Base URL: {url}. Credentials: {', '.join(secrets) or 'none'}.\n"]
    fields = kind.options.model_fields
    if not fields:
        return "\n".join([*lines, "No options.\n"])
    rows = [
        [f"`{name}`", _values(field.annotation), _default(field), _inline(field.description or "")]
        for name, field in fields.items()
    ]
    return "\n".join([*lines, _table(["option", "values", "default", "meaning"], rows)])


def _values(annotation: Any) -> str:
    """``text``, ``true, false``, or the words of a Literal."""
    plain = {str: "text", bool: "true, false", int: "whole number", float: "number"}
    if annotation in plain:
        return plain[annotation]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in parts)
    if origin is Annotated:
        return _values(parts[0])
    if origin in (Union, UnionType):
        return ", ".join(_values(part) for part in parts if part is not NoneType)
    return str(getattr(annotation, "__name__", annotation))


def _default(field: Any) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    value = field.get_default(call_default_factory=True)
    return "–" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _inline(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _yes(can: bool) -> str:
    return "yes" if can else "–"


if __name__ == "__main__":
    sys.stdout.write(render())
