"""``python -m campaign.providers.simulator``: the sandbox from a shell or as a child process."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from campaign.domain.errors import CampaignError, UsageFault
from campaign.providers.simulator.options import simulator_options
from campaign.providers.simulator.server import serve

FLAGS = ("host", "port", "seed", "time_scale", "mix", "latency", "latency_jitter", "calls_per_second", "max_live")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when told to stop, 2 for bad options, 5 where it cannot listen."""
    given = _parser().parse_args(arguments)
    try:
        words = _from_file(given.options) if given.options else {}
        words |= {name: value for name in FLAGS if (value := getattr(given, name)) is not None}
        words |= _pairs(given.set)
        if given.fault:
            words["faults"] = [*words.get("faults", ()), *given.fault]
        if given.webhook:
            words["webhooks"] = words.get("webhooks", {}) | _webhooks(given.webhook)
        serve(simulator_options(**words), announce=given.announce, until_eof=given.until_eof)
    except CampaignError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaign.providers.simulator", description=__doc__)
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", metavar="VALUE")
    parser.add_argument("--fault", action="append", metavar="KIND[:PROBABILITY][,key=value…]")
    parser.add_argument("--webhook", action="append", metavar="DIALECT=URL", help="secret from SANDBOX_WEBHOOK_SECRET")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="any other option, as JSON")
    parser.add_argument("--options", metavar="FILE", help="a JSON file of options; - reads one line from stdin")
    parser.add_argument("--announce", action="store_true", help="one line of JSON on stdout when it listens")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    return parser


def _from_file(name: str) -> dict[str, Any]:
    try:
        written = _first_line() if name == "-" else Path(name).read_text("utf-8")
        words = json.loads(written)
    except OSError as error:
        raise UsageFault(f"--options {name}: {error.strerror}") from None
    except ValueError:
        raise UsageFault(f"--options {name}: it is not JSON") from None
    if not isinstance(words, dict):
        raise UsageFault(f"--options {name}: an object of options is needed")
    return words


def _first_line() -> str:
    """Read byte by byte, so that nothing that follows is taken from whoever waits for the end of the input."""
    line = bytearray()
    while (sign := os.read(0, 1)) not in (b"", b"\n"):
        line += sign
    return line.decode()


def _pairs(settings: Sequence[str]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageFault(f"--set {setting}: write it like --set list_lag=5s")
        words[name.replace("-", "_")] = _as_json(value)
    return words


def _as_json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _webhooks(targets: Sequence[str]) -> dict[str, Any]:
    secret = os.environ.get("SANDBOX_WEBHOOK_SECRET")
    words = {}
    for target in targets:
        dialect, equals, url = target.partition("=")
        if not equals:
            raise UsageFault(f"--webhook {target}: write it like --webhook pathors=http://127.0.0.1:8080/hooks/recall")
        words[dialect] = {"url": url} | ({"secret": secret} if secret else {})
    return words


if __name__ == "__main__":
    sys.exit(main())
