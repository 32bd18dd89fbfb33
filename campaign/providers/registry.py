"""Which provider is spoken by which file. A new provider is one file and one line here."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from math import inf
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError

from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.providers.port import Provider, Sender

PROVIDERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "nexbro": ("campaign.providers.nexbro", "Nexbro"),
        "netsapiens": ("campaign.providers.netsapiens", "Netsapiens"),
        "knovvu": ("campaign.providers.knovvu", "Knovvu"),
        "mobtexting": ("campaign.providers.mobtexting", "MobTexting"),
        "pathors": ("campaign.providers.pathors", "Pathors"),
        "sandbox": ("campaign.providers.sandbox", "Sandbox"),
    }
)
"""Name in ``lines.toml`` to module and class; a module is imported when the first line asks for it."""


def provider_class(name: str) -> type[Provider]:
    """Raises UsageFault, naming the known ones."""
    if name not in PROVIDERS:
        raise UsageFault(f"there is no provider {name!r}; the known ones are {', '.join(sorted(PROVIDERS))}")
    module, attribute = PROVIDERS[name]
    return cast(type[Provider], getattr(import_module(module), attribute))


def make_provider(line: Line, sender: Sender) -> Provider:
    """Raises UsageFault with every fault that :func:`check_line` finds."""
    faults = check_line(line)
    if faults:
        raise UsageFault("\n".join(faults))
    return provider_class(line.provider)(line, sender)


def default_base_urls() -> dict[str, str | None]:
    """Every known provider with the base URL that a line may leave out; None where each customer has his own."""
    return {name: provider_class(name).default_base_url for name in PROVIDERS}


REQUEST_SPARE = 10.0
"""Seconds beyond its timeout for which a request that has left may still reach its provider."""


def queue_margin(line: Line) -> float:
    """Seconds before closing hours in which no call may leave through the line: what the line says, or else how long
    its provider may hold a call and a request may be under way. Infinite where the provider dials again by itself."""
    if line.queue_margin is not None:
        return line.queue_margin
    can = provider_class(line.provider).capabilities
    if can.own_retry_option is not None and line.options.get(can.own_retry_option):
        return inf
    return max(can.queue_delay, line.timeout + REQUEST_SPARE)


def check_line(line: Line) -> list[str]:
    """Every fault of the line's credentials and options, a sentence each; [] is none. No value is ever repeated."""
    try:
        kind = provider_class(line.provider)
    except UsageFault as fault:
        return [f"lines.{line.name}.provider: {fault}"]
    return [*_credential_faults(line, kind), *_option_faults(line, kind)]


def _credential_faults(line: Line, kind: type[Provider]) -> Iterator[str]:
    taken = sorted(kind.credentials | _optional_credentials(kind))
    for name in sorted(kind.credentials - line.credentials.keys()):
        yield f"lines.{line.name}.credentials.{name} is missing; {kind.name} needs it, as env:NAME or file:PATH"
    for name, secret in sorted(line.credentials.items()):
        key = f"lines.{line.name}.credentials.{name}"
        if name not in taken:
            yield f"{key} is not a credential of {kind.name}; {_instead(name, taken)}"
        elif not secret.get_secret_value():
            yield f"{key} is empty; put the secret where the line's reference points"
        elif not (secret.get_secret_value().isascii() and secret.get_secret_value().isprintable()):
            yield f"{key} holds a line break or another sign that no key has; correct it where its reference points"


def _optional_credentials(kind: type[Provider]) -> frozenset[str]:
    """``webhook_secret`` wherever there are webhooks, and what a class lists in ``optional_credentials``."""
    listed: frozenset[str] = getattr(kind, "optional_credentials", frozenset())
    return listed | {"webhook_secret"} if kind.capabilities.webhook else listed


def _option_faults(line: Line, kind: type[Provider]) -> Iterator[str]:
    try:
        kind.options.model_validate(line.options)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_context=False, include_input=False):
            yield _sentence(line.name, kind, cast(dict[str, Any], error))


def _sentence(line: str, kind: type[Provider], error: Mapping[str, Any]) -> str:
    key = ".".join(["lines", line, "options", *(str(part) for part in error["loc"])])
    if error["type"] == "missing":
        return f"{key} is missing; {kind.name} needs it"
    if error["type"] == "extra_forbidden":
        instead = _instead(str(error["loc"][-1]), sorted(kind.options.model_fields))
        return f"{key} is not an option of {kind.name}; {instead}"
    said = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {said[:1].lower()}{said[1:]}"


def _instead(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"remove it, or choose from {', '.join(known)}" if known else "remove it: there are none"
