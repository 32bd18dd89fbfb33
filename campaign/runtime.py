"""The composition root: settings become a store, lines, providers and rules. Opened and closed at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from campaign.config import Settings, load_lines, load_settings
from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.policies.looking import GRACE, LookRules
from campaign.providers.port import Provider
from campaign.providers.registry import check_line, default_base_urls, make_provider, provider_class
from campaign.storage.engine import Store, SystemClock, open_store

if TYPE_CHECKING:
    from campaign.providers.http import LineSender


@dataclass(frozen=True, slots=True)
class Runtime:
    """What every edge is handed. ``lines`` have been checked against their providers."""

    settings: Settings
    store: Store
    lines: Mapping[str, Line]
    rules: Mapping[str, LookRules] = field(default_factory=dict)

    def close(self) -> None:
        self.store.close()


def read_settings(environ: Mapping[str, str], cwd: Path, flags: Mapping[str, str] | None = None) -> Settings:
    return load_settings(flags or {}, environ, cwd)


def checked_lines(settings: Settings, environ: Mapping[str, str]) -> dict[str, Line]:
    """Every configured line. Raises UsageFault with every fault of every line at once."""
    lines = load_lines(settings, environ, providers=default_base_urls())
    faults = [fault for line in lines.values() for fault in check_line(line)]
    if faults:
        raise UsageFault("\n".join(faults))
    return lines


def open_runtime(settings: Settings, environ: Mapping[str, str]) -> Runtime:
    """Raises UsageFault for configuration, OutOfReach where the database does not answer."""
    lines = checked_lines(settings, environ)
    return Runtime(settings, open_store(settings.database_url), lines, {n: look_rules(x) for n, x in lines.items()})


def look_rules(line: Line) -> LookRules:
    """What the line's schedule and its provider's capabilities say about looking for results and for lost calls."""
    can = provider_class(line.provider).capabilities
    return LookRules(
        poll=line.poll,
        can_ask=can.poll,
        can_find=can.find,
        can_find_by_number=can.find_by_number,
        conflict_proves=can.conflict_proves,
        request_timeout=line.timeout,
        list_lag=can.list_lag,
        looks_after=line.settle_after if line.settle_after is not None else can.looks_after,
        grace=line.settle_grace if line.settle_grace is not None else GRACE,
    )


def connect(line: Line, connections: int = 1000) -> "tuple[Provider, LineSender]":
    """The line's provider on a connection pool of its own, to be used from one event loop and closed there."""
    from campaign.providers.http import LineSender  # 0.3 s that a command which only looks need not spend

    sender = LineSender(line, now=SystemClock().now, connections=connections)
    return make_provider(line, sender), sender
