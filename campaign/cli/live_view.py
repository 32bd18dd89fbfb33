"""A campaign as a person watches it: a live picture on a terminal, a line now and then elsewhere, nothing with -q."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from campaign.cli.output import cell, note, on_terminal

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

RATE_OVER = 5.0
LINE_EVERY = 10.0
STILL_AFTER = 3.0
"""Seconds without any change after which the picture says why."""

Figures = Mapping[str, Any]


class Meter:
    """Calls per second over the last five, and since when nothing has changed."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()
        self._seen: object = None
        self._changed_at = time.monotonic()

    def read(self, figures: Figures, now: float) -> None:
        self._marks.append((now, _calls(figures)))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_OVER:
            self._marks.popleft()
        seen = (figures["state"], figures["targets"], figures["attempts"])
        if seen != self._seen:
            self._seen, self._changed_at = seen, now

    @property
    def rate(self) -> float:
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def still(self, now: float) -> bool:
        return now - self._changed_at > STILL_AFTER


def _calls(figures: Figures) -> int:
    attempts = figures["attempts"]
    return int(attempts["total"] + attempts["conflicts"] + attempts["throttled"])


class Screen:
    """Where figures are shown while a command waits. ``fps`` pictures a second are as many as anybody can read."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live: Live | None = None
        self._said_at = float("-inf")
        self._said_state: object = None

    def __enter__(self) -> Self:
        if not self._quiet and on_terminal():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, markup=False, highlight=False, emoji=False)
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def show(self, figures: Figures, meter: Meter, sentences: Sequence[str], now: float) -> None:
        if self._live is not None:
            self._live.update(picture(figures, meter.rate, sentences), refresh=True)
        elif not self._quiet and (now - self._said_at >= LINE_EVERY or figures["state"] != self._said_state):
            self._said_at, self._said_state = now, figures["state"]
            note(in_a_line(figures, meter.rate, sentences))


def finished(figures: Figures) -> int:
    """Targets that nothing more happens to by itself."""
    targets = figures["targets"]
    return int(targets["done"] + targets["skipped"] + targets["held"])


def retries(figures: Figures) -> int:
    """Calls that ended and were not the last one to their number, whether the next is made yet or not."""
    targets, attempts = figures["targets"], figures["attempts"]
    return max(0, int(attempts["total"] - attempts["live"] - targets["done"] - targets["held"]))


def in_a_line(figures: Figures, rate: float, sentences: Sequence[str] = ()) -> str:
    targets, attempts = figures["targets"], figures["attempts"]
    ends = ", ".join(f"{word} {count:,}" for word, count in _by_size(figures["dispositions"]))
    told = [
        f"{figures['campaign']} {figures['state']}: {finished(figures):,} of {targets['total']:,} finished",
        f"{attempts['live']:,} in flight, {targets['waiting']:,} waiting, {rate:.1f} calls/s",
        *([ends] if ends else []),
        *sentences[:1],
    ]
    return "; ".join(cell(part) for part in told)


def picture(figures: Figures, rate: float, sentences: Sequence[str]) -> "Group":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    targets, done = figures["targets"], finished(figures)
    head = Table.grid(padding=(0, 1))
    share = f"{100 * done / targets['total']:.0f} %" if targets["total"] else ""
    head.add_row(
        Text(cell(figures["campaign"]), style="bold"),
        ProgressBar(total=max(targets["total"], 1), completed=done, width=40),
        Text(f"{done:,} of {targets['total']:,}  {share}"),
    )
    return Group(
        head, *(Text(cell(line), style=style, overflow="ellipsis") for line, style in _lines(figures, rate, sentences))
    )


def _lines(figures: Figures, rate: float, sentences: Sequence[str]) -> list[tuple[str, str]]:
    targets, attempts = figures["targets"], figures["attempts"]
    state = "" if figures["state"] == "running" else f"{figures['state']}  "
    moving = f"{state}{rate:.1f} calls/s   {attempts['live']:,} in flight   {targets['waiting']:,} waiting"
    lines = [(f"{moving}   {attempts['total']:,} calls made   {retries(figures):,} retries", "")]
    ends = "   ".join(f"{word} {count:,}" for word, count in _by_size(figures["dispositions"]))
    if ends:
        lines.append((ends, "cyan"))
    doubts = [f"{count:,} {word}" for word in ("held", "skipped") if (count := targets[word])]
    doubts += [f"{count:,} {word}" for word in ("unconfirmed", "conflicts", "throttled") if (count := attempts[word])]
    if doubts:
        lines.append(("   ".join(doubts), "yellow"))
    return lines + [(sentence, "dim") for sentence in sentences]


def _by_size(dispositions: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(dispositions.items(), key=lambda item: -item[1])
