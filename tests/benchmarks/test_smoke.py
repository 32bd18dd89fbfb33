"""The benchmark's own code, so that it cannot rot: every contender makes a few calls. No speed is judged here."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import report, usual
from benchmarks.bare import Bare
from benchmarks.contender import Contender, Figure, measure
from benchmarks.machine import describe
from benchmarks.pipeline import Pipeline
from campaign.providers.simulator.handle import SimulatorHandle, simulator_process
from campaign.providers.simulator.options import SimulatorOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned and read through /proc")

LATENCIES = (0, 50)
CONTENDERS = ("bare", "pipeline", "prefork")


def contender(name: str, simulator: SimulatorHandle, broker: str, folder: Path) -> Contender:
    makers: dict[str, Callable[[], Contender]] = {
        "bare": lambda: Bare(simulator.url),
        "pipeline": lambda: Pipeline(f"sqlite:///{folder}/bench.sqlite", broker, simulator.url, folder, numbers=5000),
        "prefork": lambda: usual.prefork(broker, simulator, folder / "log"),
    }
    return makers[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_makes_calls_and_leaves_nothing_in_the_air(name: str, clean_redis_url: str, tmp_path: Path) -> None:
    # Given a provider that takes five milliseconds, and one contender
    with simulator_process(SimulatorOptions(port=0, latency=0.005)) as simulator:
        one = contender(name, simulator, clean_redis_url, tmp_path)
        try:
            # When a short window of it is measured, or a longer one where the machine was held up for all of that
            figure = measure(one, seconds=1.5, warm=0.1)
            if figure.per_second == 0:
                figure = measure(one, seconds=8.0, warm=0.1)
        finally:
            one.close()
        # Then calls were made and cost something, and none was made twice
        truth = simulator.ledger()
    assert figure.per_second > 0
    assert 0 < figure.cpu < float("inf")
    assert truth.placed > 0
    assert truth.double_rings == 0
    assert truth.refused == {}


def test_the_table_compares_each_design_with_the_others_at_its_own_latency() -> None:
    # Given figures of three designs
    medians = {
        (report.BARE, 0): Figure(4000.0, 120.0),
        ("ours", 0): Figure(2000.0, 300.0),
        (report.PREFORK, 50): Figure(40.0, 2000.0),
        ("ours", 50): Figure(1000.0, 250.0),
    }
    # When they are put into a table
    lines = report.table(medians, LATENCIES).splitlines()[2:]
    # Then a ratio stands where there is something to compare with
    assert lines == [
        f"| 0 ms | {report.BARE} | 4,000 | 1.00 |  |  | 120 | 1.00 |",
        "| 0 ms | ours | 2,000 | 0.50 |  |  | 300 | 0.40 |",
        f"| 50 ms | {report.PREFORK} | 40 |  | 1.00 |  | 2,000 |  |",
        "| 50 ms | ours | 1,000 |  | 25 |  | 250 |  |",
    ]


def test_the_readme_has_its_marks_and_keeps_what_is_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a copy of the page
    page = report.README.read_text()
    copy = tmp_path / "README.md"
    copy.write_text(page)
    monkeypatch.setattr(report, "README", copy)
    # When other figures are written into it
    report.write({("ours", 0): Figure(1.0, 2.0)}, (0,), ["a machine"])
    # Then they stand between the marks and all else is as it was
    written = copy.read_text()
    assert "| 0 ms | ours | 1 |  |  |  | 2 |  |" in written
    assert "* a machine" in written
    assert written.partition(report.BEGIN)[0] == page.partition(report.BEGIN)[0]
    assert written.partition(report.END)[2] == page.partition(report.END)[2]


def test_the_machine_is_told_without_its_name() -> None:
    told = " ".join(describe())
    assert "cores" in told
    assert "Python 3." in told
    assert "load average" in told
