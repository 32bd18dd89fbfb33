"""What every command shares: the flags that may stand anywhere, examples in ``--help``, and the session behind it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from campaign.domain.errors import NotPossible, OutOfReach

if TYPE_CHECKING:
    from campaign.config import Settings
    from campaign.domain.erasure import ErasureKey
    from campaign.domain.line import Line
    from campaign.storage.engine import Store

Value = TypeVar("Value")


@dataclass
class Session:
    """One command line at work. Settings, database and lines are opened when a command first asks for them."""

    flags: dict[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    debug: bool = False
    interrupted: str | None = None  # what Ctrl-C says, where there is more to say than that
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def settings(self) -> "Settings":
        """Raises UsageFault with every fault of the configuration."""
        from campaign.config import load_settings

        return load_settings(self.flags, self.environ, Path.cwd())

    @cached_property
    def database(self) -> "Store":
        """The database as it is. Raises OutOfReach."""
        from campaign.storage.engine import open_store

        _make_folder(self.settings)
        store = open_store(self.settings.database_url)
        self.stack.callback(store.close)
        return store

    @cached_property
    def store(self) -> "Store":
        """The database with its tables in place. SQLite's are made here; those of a server are its keeper's to make."""
        from campaign.storage.migrate import ensure_schema

        if self.database.sqlite:
            ensure_schema(self.database)
        else:
            _require_schema(self.database)
        return self.database

    @cached_property
    def lines(self) -> "Mapping[str, Line]":
        """Every line, secrets resolved and options checked. Raises UsageFault with every fault of every line."""
        from campaign.runtime import checked_lines

        return checked_lines(self.settings, self.environ)

    @property
    def erasure_key(self) -> "ErasureKey | None":
        """As configured; else this machine's own, which may have been made since this command began."""
        from campaign.config import kept_erasure_key

        return self.settings.erasure_key or kept_erasure_key(self.settings.home)

    def close(self) -> None:
        self.stack.close()


def _make_folder(settings: "Settings") -> None:
    if not settings.database_url.startswith(f"sqlite:///{settings.home}"):
        return
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OutOfReach(
            f"the folder {settings.home} cannot be made ({error.strerror}); set CAMPAIGN_HOME to one that can"
        ) from None


def _require_schema(store: "Store") -> None:
    from campaign.storage.migrate import HEAD, current

    revision = current(store)
    if revision == HEAD:
        return
    found = "has no tables yet" if revision is None else f"has tables of revision {revision} and not {HEAD}"
    raise NotPossible(f"the database {found}; `campaign db upgrade` brings it up to date")


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.ensure_object(Session).flags[name] = value

    return keep


def _debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).debug = True


def global_options(*, hidden: bool = False) -> Iterator[click.Option]:
    """The flags that stand before the command, and are understood after it too (hidden there)."""
    words: dict[str, Any] = {"expose_value": False, "hidden": hidden}
    yield click.Option(
        ["--config"],
        metavar="FILE",
        callback=_keep("config"),
        help="Settings file; campaign.toml if it is here.",
        **words,
    )
    yield click.Option(["--home"], metavar="FOLDER", callback=_keep("home"), help="Where embedded data live.", **words)
    yield click.Option(
        ["--lines"], metavar="FILE", callback=_keep("lines"), help="Lines file; lines.toml if it is here.", **words
    )
    yield click.Option(["--debug"], is_flag=True, callback=_debug, help="Show tracebacks.", **words)


class Command(click.Command):
    """A command with examples, and the global flags."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        taken = {option for parameter in self.params for option in parameter.opts}
        self.params += [option for option in global_options(hidden=True) if option.opts[0] not in taken]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{' ' * formatter.current_indent}{example}\n")
        super().format_epilog(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        session = ctx.ensure_object(Session)
        with session.stack:
            return super().invoke(ctx)


class Group(click.Group):
    """A noun with its verbs."""

    command_class = Command


def pass_session(function: Callable[..., None]) -> Callable[..., None]:
    """Gives the command its session as the first argument."""
    return click.make_pass_decorator(Session, ensure=True)(function)


json_flag = click.option("--json", "as_json", is_flag=True, help="Data as JSON on stdout.")
quiet_flag = click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
yes_flag = click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where nobody is at a terminal.")
