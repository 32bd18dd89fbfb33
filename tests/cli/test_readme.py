"""The README shows what the program prints: the moving lines of `make run`, and nothing that it no longer says."""

import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

from campaign.cli.live_view import picture
from campaign.cli.main import COMMANDS

README = Path("README.md").read_text(encoding="utf-8")


def test_the_moving_lines_are_those_of_the_program() -> None:
    # Given the figures of the README's run, shortly before its end
    ends = {"answered": 159, "voicemail": 25, "rejected": 12, "invalid_number": 4, "busy": 2, "no_answer": 1}
    figures = {
        "campaign": "recall",
        "state": "running",
        "targets": {"total": 208, "waiting": 1, "calling": 4, "held": 0, "done": 203, "skipped": 0},
        "attempts": {"total": 284, "live": 4, "unconfirmed": 0, "conflicts": 0, "throttled": 0},
        "dispositions": ends,
    }
    # When a terminal shows them
    shown = io.StringIO()
    Console(file=shown, width=100, force_terminal=True, color_system="truecolor").print(picture(figures, 2.8, []))
    # Then the README has the very same lines
    lines = [line.rstrip() for line in Text.from_ansi(shown.getvalue()).plain.splitlines()]
    assert len(lines) == 3
    assert [line for line in lines if line not in README.splitlines()] == []


def test_every_command_that_it_names_is_one() -> None:
    told = [line.strip() for line in README.splitlines() if line.startswith("campaign ")]
    assert len(told) > 8
    assert [line for line in told if line.split()[1] not in COMMANDS] == []
