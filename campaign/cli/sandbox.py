"""``sandbox``: the simulated providers as a server."""

import click

from campaign.cli.command import Command

_FLAGS = {
    "host": ("127.0.0.1", "Where to listen."),
    "port": ("8777", "0 takes a free one."),
    "seed": ("1", "The same seed gives the same outcomes."),
    "time-scale": ("1", "How many times as fast as life calls ring and talk."),
    "mix": ("answered=55,…", "Weights of the outcomes: answered=60,busy=20,no_answer=20."),
    "latency": ("0s", "How long every answer takes."),
    "latency-jitter": ("0s", "And up to so much more."),
    "calls-per-second": ("no limit", "More get 429."),
    "max-live": ("no limit", "More calls at once get 429."),
}


@click.command("sandbox", cls=Command, examples=[
    "campaign sandbox",
    "campaign sandbox --time-scale 20 --mix answered=60,no_answer=40 --seed 7",
    "campaign sandbox --fault reset_after:0.05 --calls-per-second 10",
])  # fmt: skip
@click.option("--fault", multiple=True, metavar="KIND[:PROBABILITY][,key=value…]", help="What goes wrong; repeatable.")
@click.option("--webhook", multiple=True, metavar="DIALECT=URL", help="Push results; SANDBOX_WEBHOOK_SECRET signs.")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Any other option; repeatable.")
@click.option("--options", "file", metavar="FILE", help="A JSON file of options.")
@click.option("--announce", is_flag=True, help="One line of JSON on stdout when it listens.")
def sandbox_command(
    fault: tuple[str, ...], webhook: tuple[str, ...], settings: tuple[str, ...], file: str | None, announce: bool,
    **given: str | None,
) -> None:  # fmt: skip
    """The simulated providers as a server.

    It speaks every provider's API and keeps a ledger of what really happened; nobody is called. docs/sandbox.md
    explains every option and fault.
    """
    from campaign.providers.simulator.__main__ import main

    words = [word for name, value in given.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    for flag, values in (("--fault", fault), ("--webhook", webhook), ("--set", settings)):
        words += [word for value in values for word in (flag, value)]
    words += ["--options", file] if file else []
    code = main([*words, *(["--announce"] if announce else [])])
    if code:
        raise click.exceptions.Exit(code)


for _name, (_default, _help) in reversed(_FLAGS.items()):
    sandbox_command.params.insert(0, click.Option([f"--{_name}"], metavar="VALUE", help=f"{_help}  [{_default}]"))
