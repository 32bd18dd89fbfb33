"""``python -m benchmarks [--quick] [--write]``: every contender in turn, again and again; medians in one table."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from statistics import median

from benchmarks import machine, report, usual
from benchmarks.bare import Bare
from benchmarks.contender import Contender, Figure, measure
from benchmarks.pipeline import Pipeline
from benchmarks.servers import Servers, all_servers
from tests.servers import ServerMissing

LATENCIES = (0, 50)
"""Milliseconds that the provider takes to answer."""

MOST_SECONDS = 600
"""A run that has taken this long is stuck somewhere, and says where."""

QUICK = "bare,-1,prefork,gevent"

Results = dict[tuple[str, int], list[Figure]]


def main() -> int:
    given = _parser().parse_args()
    if sys.platform != "linux":
        print("benchmarks: processes are pinned and read through /proc, so this needs Linux", file=sys.stderr)
        return 2
    rounds, seconds = (1, 1.0) if given.quick else (given.rounds, given.seconds)
    chosen = _chosen(given.only or (QUICK if given.quick else None))
    about = machine.describe()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(MOST_SECONDS)
    try:
        with all_servers() as servers, contenders(servers, chosen) as taking_part:
            results = interleaved(taking_part, servers, rounds, seconds)
    except ServerMissing as missing:
        print(f"benchmarks: {missing}", file=sys.stderr)
        return 2
    about.append(f"medians of {rounds} interleaved windows of {seconds:g} s, {time.monotonic() - began:.0f} s in all")
    about.append(report.RATIOS)
    medians = {key: _median(figures) for key, figures in results.items()}
    print(report.table(medians, LATENCIES))
    print("\n".join(f"* {line}" for line in about))
    if given.write:
        report.write(medians, LATENCIES, about)
    return 0


@contextmanager
def contenders(servers: Servers, chosen: Callable[[str], bool]) -> Iterator[list[Contender]]:
    """All of them, up and idle; gevent only where it is installed."""
    makers: dict[str, Callable[[], Contender]] = {
        report.BARE: lambda: Bare(servers.simulator.url),
        "postgresql-1": lambda: _pipeline(servers, 1, 1, sqlite=False),
        "sqlite-1": lambda: _pipeline(servers, 2, 1, sqlite=True),
        "postgresql-2": lambda: _pipeline(servers, 3, 2, sqlite=False),
        "sqlite-2": lambda: _pipeline(servers, 4, 2, sqlite=True),
        report.PREFORK: lambda: usual.prefork(servers.broker(5), servers.simulator, servers.folder / "prefork.log"),
    }
    if find_spec("gevent"):
        makers[report.GEVENT] = lambda: usual.gevent(
            servers.broker(6), servers.simulator, servers.folder / "gevent.log"
        )
    with ExitStack() as stack:
        made: list[Contender] = []
        for make in (make for name, make in makers.items() if chosen(name)):
            made.append(make())
            stack.callback(made[-1].close)
        yield made


def interleaved(taking_part: list[Contender], servers: Servers, rounds: int, seconds: float) -> Results:
    """A B C A B C …: what else the machine does meanwhile falls on all alike."""
    results: Results = {}
    for turn in range(rounds):
        for latency in LATENCIES:
            servers.simulator.configure(latency=latency / 1000)
            for contender in taking_part:
                servers.simulator.reset()
                figure = measure(contender, seconds)
                results.setdefault((contender.name, latency), []).append(figure)
                print(
                    f"{turn + 1}/{rounds} {latency:3d} ms {contender.name:40} "
                    f"{figure.per_second:7.0f} calls/s {figure.cpu:7.0f} µs",
                    file=sys.stderr,
                )
    return results


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the benchmark has taken more than {MOST_SECONDS} seconds")


def _pipeline(servers: Servers, number: int, children: int, *, sqlite: bool) -> Pipeline:
    folder = servers.folder / f"home-{number}"
    folder.mkdir()
    database = servers.sqlite(f"data-{number}") if sqlite else servers.postgres.create_database()
    return Pipeline(database, servers.broker(number), servers.simulator.url, folder, children=children)


def _median(figures: list[Figure]) -> Figure:
    return Figure(median(figure.per_second for figure in figures), median(figure.cpu for figure in figures))


def _chosen(only: str | None) -> Callable[[str], bool]:
    words = only.split(",") if only else []
    return lambda name: not words or any(word in name for word in words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short window each")
    parser.add_argument("--write", action="store_true", help="put the figures into benchmarks/README.md")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each measured window")
    parser.add_argument("--only", help="words, one of which a contender's name must hold: bare,sqlite-1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
