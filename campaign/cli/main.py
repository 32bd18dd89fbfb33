"""The command ``campaign``: the table of its commands, and how each of them ends.

Data go to stdout, everything else to stderr. A fault that a person can mend is one sentence and its documented exit
code; Ctrl-C and SIGTERM are 130; whatever else goes wrong is 1, with the traceback under ``--debug`` only.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

import click

from campaign.cli.command import Session, global_options
from campaign.domain.errors import CampaignError

INTERRUPTED = 130

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Dial": {
        "run": ("run", "Dial a CSV from beginning to end: create, upload, start, watch, export."),
        "create": ("campaigns", "Make a campaign: a name, a line and a plan."),
        "upload": ("uploads", "Read the numbers of a CSV into a campaign."),
        "start": ("campaigns", "Let a campaign dial."),
        "pause": ("campaigns", "Stop dialling; calls in the air end by themselves."),
        "resume": ("campaigns", "Let a paused campaign dial again."),
        "cancel": ("campaigns", "End a campaign for good; whoever waits is not called."),
        "set": ("campaigns", "Change the plan or the line of a campaign, also while it runs."),
    },
    "Look": {
        "list": ("looking", "Every campaign, the newest first."),
        "show": ("looking", "One campaign in figures."),
        "watch": ("watching", "Follow a campaign to its end."),
        "why": ("looking", "Why a campaign, or a number in it, is not being called now."),
        "targets": ("numbers", "The numbers of a campaign and where each one stands."),
        "attempts": ("numbers", "Every call to one number."),
        "export": ("exporting", "Write the results as a file."),
        "rejects": ("exporting", "Write the rejected rows as a CSV to mend and upload again."),
    },
    "Decide": {
        "retry": ("retries", "Try again, now, at a time or on a schedule, whoever ended so."),
        "retries": ("retries", "The retry batches of a campaign and what each fire did."),
        "settle": ("settling", "Decide about numbers of which nobody can tell whether they rang."),
        "dnc": ("dnc", "The do-not-call list."),
        "erase": ("erasing", "Erase people: a keyed hash takes the place of their numbers."),
    },
    "Run": {
        "lines": ("lines", "The accounts that campaigns dial through."),
        "up": ("up", "Everything a single machine needs, until Ctrl-C."),
        "serve": ("serve", "The web edge: webhooks in, and health."),
        "sandbox": ("sandbox", "The simulated providers as a server."),
        "db": ("db", "The database's tables, and what to do after a restore."),
        "doctor": ("doctor", "Check settings, database, broker, lines, workers and clocks."),
    },
}
"""Command -> its module here and what it is for; the words of ``--help`` (a test holds them to the commands' own)."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Lazy(click.Group):
    """A group that imports a command's module when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"campaign.cli.{COMMANDS[cmd_name][0]}")
        found = getattr(module, f"{cmd_name}_command")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(_unknown_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, short) for name, (_, short) in section.items()], col_spacing=3)


def _unknown_command(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
    hint = f"did you mean `campaign {close[0]}`?" if close else "`campaign --help` lists them."
    return f"there is no command {word!r}; {hint}"


@click.group(
    cls=Lazy,
    params=list(global_options()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage or configuration, 3 rejected rows with --strict, 4 not found or "
    "not possible in this state, 5 database, broker or provider out of reach, 6 held numbers with --fail-on-unknown, "
    "130 interrupted.",
)
@click.version_option(package_name="campaign", prog_name="campaign", message="%(prog)s %(version)s")
def cli() -> None:
    """Dials a list of phone numbers through a voice provider: one ring per intent, a result for every number.

    \b
    campaign run numbers.csv --line sandbox       try it; nobody is called
    campaign COMMAND --help                       every command, with examples
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The console script. Ends the process."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal of another time shows what it can
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """One command line; its exit code."""
    session = Session()
    try:
        code = cli.main(arguments, prog_name="campaign", standalone_mode=False, obj=session)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CampaignError as error:
        _say(f"Error: {error}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say(session.interrupted or "Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last one who can turn it into a sentence
        return _unexpected(error, debug=session.debug)


def _unexpected(error: Exception, *, debug: bool) -> int:
    """Names the fault by its class: its text may hold a number or a password."""
    if debug:
        traceback.print_exception(error)
    hint = "" if debug else "; once more with `campaign --debug …` shows where"
    _say(f"Error: something unexpected happened ({type(error).__name__}){hint}.")
    return 1


def _as_interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    click.echo(text, err=True)
