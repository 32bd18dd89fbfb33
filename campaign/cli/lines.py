"""``lines list|check|describe|set|reset``: the accounts that campaigns dial through."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from campaign.cli.command import Group, Session, json_flag, pass_session
from campaign.cli.output import note, print_json, print_table
from campaign.domain.errors import NotFound, UsageFault

if TYPE_CHECKING:
    from campaign.domain.line import Line
    from campaign.domain.verdicts import Verdict
    from campaign.services.lines import LineView


@click.group("lines", cls=Group)
def lines_command() -> None:
    """The accounts that campaigns dial through."""


@lines_command.command("list", examples=["campaign lines list", "campaign lines list --json"])
@json_flag
@pass_session
def list_command(session: Session, as_json: bool) -> None:
    """Every line with its limits and how it fares at this moment."""
    from campaign.services.lines import list_lines

    views = list_lines(session.store, session.lines)
    if as_json:
        print_json([_data(view) for view in views])
        return
    headers = ("line", "provider", "state", "calls/s", "at once", "live", "campaigns", "why")
    print_table(headers, [_row(view) for view in views])


def _data(view: "LineView") -> dict[str, object]:
    from campaign.domain.instants import format_instant

    return {
        "line": view.name,
        "provider": view.provider,
        **view.summary,
        "why": view.why,
        "set_while_running": view.is_set,
        "pace_factor": view.pace_factor,
        "not_before": format_instant(view.not_before),
        "live": view.live,
        "running_campaigns": view.running_campaigns,
    }


def _row(view: "LineView") -> Sequence[object]:
    pace = view.calls_per_second
    slowed = f"{pace * view.pace_factor:g} of {pace:g}" if pace and view.pace_factor < 1 else pace
    provider = view.provider or "not configured here"
    limits = (slowed, view.max_in_flight, view.live, view.running_campaigns)
    return (view.name, provider, view.state, *limits, view.why)


@lines_command.command("check", examples=["campaign lines check", "campaign lines check main"])
@click.argument("names", nargs=-1, metavar="[LINE]...")
@json_flag
@pass_session
def check_command(session: Session, names: tuple[str, ...], as_json: bool) -> None:
    """Ask each provider the cheapest question that needs the key. Nobody is called.

    Exit code 2 where a provider refuses the key or the settings, 5 where one cannot be reached.
    """
    lines = _chosen(session.lines, names)
    verdicts = asyncio.run(_ask_all(lines))
    if as_json:
        print_json([_verdict_data(name, verdicts[name]) for name in lines])
    else:
        rows = [(n, lines[n].provider, _word(verdicts[n]), verdicts[n].reason or verdicts[n].raw) for n in lines]
        print_table(("line", "provider", "result", "said"), rows)
    bad = [verdict for verdict in verdicts.values() if verdict.kind != "placed"]
    if bad:
        raise click.exceptions.Exit(2 if all(verdict.kind == "pause" for verdict in bad) else 5)


def _chosen(lines: "Mapping[str, Line]", names: Sequence[str]) -> "dict[str, Line]":
    for name in names:
        if name not in lines:
            raise NotFound(f"no line {name!r}; there are {', '.join(sorted(lines))}")
    return {name: lines[name] for name in names or sorted(lines)}


async def _ask_all(lines: "Mapping[str, Line]") -> "dict[str, Verdict]":
    verdicts = await asyncio.gather(*(ask_provider(line) for line in lines.values()))
    return dict(zip(lines, verdicts, strict=True))


async def ask_provider(line: "Line") -> "Verdict":
    """The verdict of the line's own check; a fault of ours is one as well."""
    from campaign.domain.verdicts import unconfirmed
    from campaign.runtime import connect

    provider, sender = connect(line, connections=1)
    try:
        return await provider.check()
    except Exception as error:  # noqa: BLE001 - one line's fault must not hide the others' answers
        return unconfirmed(f"the check itself failed ({type(error).__name__})")
    finally:
        await sender.aclose()


def _word(verdict: "Verdict") -> str:
    return {"placed": "usable", "pause": "refused", "not_sent": "out of reach"}.get(verdict.kind, verdict.kind)


def _verdict_data(name: str, verdict: "Verdict") -> dict[str, object]:
    return {"line": name, "usable": verdict.kind == "placed", "result": _word(verdict), "said": verdict.reason}


@lines_command.command("describe", examples=["campaign lines describe", "campaign lines describe pathors"])
@click.argument("provider", required=False)
@json_flag
def describe_command(provider: str | None, as_json: bool) -> None:
    """What a line of this provider is configured with, and what the provider can do."""
    from campaign.providers.registry import default_base_urls, provider_class

    kinds = sorted(default_base_urls())
    if provider is not None and provider not in kinds:
        raise NotFound(f"no provider {provider!r}; there are {', '.join(kinds)}")
    described = [_described(provider_class(kind)) for kind in ([provider] if provider else kinds)]
    if as_json:
        print_json(described if provider is None else described[0])
        return
    for about in described:
        _print_described(about)


def _described(kind: Any) -> dict[str, Any]:
    from dataclasses import asdict

    fields, schema = kind.options.model_fields, kind.options.model_json_schema()
    return {
        "provider": kind.name,
        "base_url": kind.default_base_url,
        "credentials": sorted(kind.credentials),
        "webhook_secret": kind.capabilities.webhook,
        "options": {name: _option(name, field, schema) for name, field in fields.items()},
        "can": asdict(kind.capabilities),
    }


def _option(name: str, field: Any, schema: Mapping[str, Any]) -> dict[str, object]:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return {
        "type": _type(schema["properties"][name]),
        "required": field.is_required(),
        "default": default if isinstance(default, (str, int, float, bool, type(None))) else str(default),
        "meaning": field.description or "",
    }


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a word or two."""
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(
        schema.get("type", ""), str(schema.get("type", "any"))
    )


def _print_described(about: Mapping[str, Any]) -> None:
    address = about["base_url"] or "needed: the address of your account"
    click.echo(f"\n{about['provider']}\n  base_url     {address}")
    secrets = [*about["credentials"], *(["webhook_secret (optional)"] if about["webhook_secret"] else [])]
    click.echo(f"  credentials  {', '.join(secrets) or 'none'}")
    can = [name for name, able in about["can"].items() if able is True]
    click.echo(f"  can          {', '.join(can) or 'place calls'}")
    for name, option in about["options"].items():
        default = "required" if option["required"] else f"default {option['default']}"
        default = "optional" if default == "default None" else default
        click.echo(f"  options.{name}  ({option['type']}, {default})  {option['meaning']}".rstrip())


@lines_command.command("set", examples=[
    "campaign lines set main calls_per_second=2",
    "campaign lines set main calls_per_second=configured max_in_flight=configured",
])  # fmt: skip
@click.argument("line")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_flag
@pass_session
def set_command(session: Session, line: str, values: tuple[str, ...], as_json: bool) -> None:
    """Change a line's limits while it runs; `configured` goes back to the file's value."""
    from campaign.services.lines import set_limits

    wanted = dict(word.replace("-", "_").partition("=")[::2] for word in values)
    unknown = wanted.keys() - {"calls_per_second", "max_in_flight"}
    if unknown:
        raise UsageFault(f"{', '.join(sorted(unknown))}: a line has calls_per_second and max_in_flight to set")
    view = set_limits(session.store, session.lines, line, **wanted)
    print_json(_data(view)) if as_json else note(
        f"{line}: {view.calls_per_second} calls/s, {view.max_in_flight} at once."
    )


@lines_command.command("reset", examples=["campaign lines reset main"])
@click.argument("line")
@json_flag
@pass_session
def reset_command(session: Session, line: str, as_json: bool) -> None:
    """You have mended it: end the line's silence and go at its full pace."""
    from campaign.services.lines import reset_line

    view = reset_line(session.store, session.lines, line)
    print_json(_data(view)) if as_json else note(f"{line} is {view.state}.")
