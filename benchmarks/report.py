"""The figures as a table, on the terminal and between two marks of the README."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contender import Figure

BARE = "bare loop of the same client"
PREFORK = "one task per number, prefork 2"
GEVENT = "one task per number, gevent 100"
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"

Medians = Mapping[tuple[str, int], Figure]


def table(medians: Medians, latencies: Sequence[int]) -> str:
    """Markdown. A ratio is how many times the calls per second of the column's design."""
    lines = [
        "| provider | design | calls/s | CPU µs per call | × bare | × prefork | × gevent |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for latency in latencies:
        lines += [_row(name, figure, latency, medians) for (name, at), figure in medians.items() if at == latency]
    return "\n".join(lines)


def write(medians: Medians, latencies: Sequence[int], about: Sequence[str]) -> None:
    """Raises ValueError where the README has lost its marks."""
    page = README.read_text()
    before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
    figures = "\n".join([table(medians, latencies), "", *(f"* {line}" for line in about)])
    README.write_text(f"{page[:before]}\n{figures}\n{page[after:]}")


def _row(name: str, figure: Figure, latency: int, medians: Medians) -> str:
    ratios = " | ".join(_ratio(figure, medians.get((other, latency))) for other in (BARE, PREFORK, GEVENT))
    return f"| {latency} ms | {name} | {figure.per_second:,.0f} | {figure.cpu:,.0f} | {ratios} |"


def _ratio(figure: Figure, other: Figure | None) -> str:
    if other is None or not other.per_second:
        return ""
    ratio = figure.per_second / other.per_second
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
