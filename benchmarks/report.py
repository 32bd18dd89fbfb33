"""The figures as a table, on the terminal and between two marks of the README."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.contender import Figure

BARE = "bare loop of the same client"
PREFORK = "one task per number, prefork 2"
GEVENT = "one task per number, gevent 100"
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures begin -->", "<!-- figures end -->"

RATIOS = (
    "× bare: calls per second by the clock, on cores shared with the provider, the database and Redis; "
    "× bare, CPU: calls per second of CPU of the design's own processes, without those"
)

Medians = Mapping[tuple[str, int], Figure]


def table(medians: Medians, latencies: Sequence[int]) -> str:
    """Markdown. A ratio is how many times as many calls as the column's design; RATIOS tells the two to the bare loop
    apart."""
    lines = [
        "| provider | design | calls/s | × bare | × prefork | × gevent | CPU µs per call | × bare, CPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
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
    others = [medians.get((other, latency)) for other in (BARE, PREFORK, GEVENT)]
    by_clock = " | ".join(_ratio(figure.per_second, other.per_second if other else 0.0) for other in others)
    by_cpu = _ratio(figure.per_cpu_second, others[0].per_cpu_second if others[0] else 0.0)
    return f"| {latency} ms | {name} | {figure.per_second:,.0f} | {by_clock} | {figure.cpu:,.0f} | {by_cpu} |"


def _ratio(ours: float, theirs: float) -> str:
    if not theirs:
        return ""
    ratio = ours / theirs
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
