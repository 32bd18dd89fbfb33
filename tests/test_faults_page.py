"""docs/faults.md names every fault once, and every test and mutant that it names is there."""

import ast
import re
from functools import lru_cache
from pathlib import Path

PAGE = Path("docs/faults.md")
FAULTS = 46
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
FAILPOINT = re.compile(r"`((?:claim|send|record|poll|settle|intake|retry)\.[a-z_*]+)`")
MUTANT = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]*)+)`")
BY_NAME = ("the failpoints", "the kill loop", "the simulation")


def rows() -> dict[int, list[str]]:
    """The cells of each fault's row, by number."""
    found: dict[int, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            number = int(match.group(1))
            assert number not in found, f"fault {number} is there twice"
            found[number] = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    return found


@lru_cache
def defined(path: str) -> frozenset[str]:
    """Names of the functions and classes of a file, those in classes too."""
    tree = ast.parse(Path(path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_fault_has_a_row_with_what_is_done_and_by_what_it_is_proved() -> None:
    found = rows()
    assert sorted(found) == list(range(1, FAULTS + 1))
    for number, cells in found.items():
        assert len(cells) == 4, number
        assert all(cells), number
        assert TEST.search(cells[3]) or any(name in cells[3] for name in BY_NAME), f"fault {number} names no test"


def test_every_test_that_is_named_is_there() -> None:
    named = TEST.findall(PAGE.read_text())
    assert len(named) > FAULTS
    missing = [f"{path}::{test}" for path, test in named if not Path(path).is_file() or test not in defined(path)]
    assert missing == []


def test_every_path_is_a_whole_node() -> None:
    """A name that is written in another way would not be looked for."""
    spoken = set(re.findall(r"tests/[\w/]+\.py(?:::\w+)?", PAGE.read_text()))
    nodes = {f"{path}::{test}" for path, test in TEST.findall(PAGE.read_text())}
    assert spoken - nodes == {"tests/test_faults_page.py"}


def test_every_mutant_and_failpoint_that_is_named_is_there() -> None:
    proofs = " ".join(cells[3] for cells in rows().values())
    mutants = set(MUTANT.findall(proofs))
    assert len(mutants) > 10
    assert mutants <= defined("tests/simulation/mutants.py"), mutants - defined("tests/simulation/mutants.py")
    points = re.findall(r'"([a-z]+\.[a-z_]+)"', Path("campaign/domain/failpoints.py").read_text())
    for point in FAILPOINT.findall(proofs):
        assert point in points or (point.endswith(".*") and any(p.startswith(point[:-1]) for p in points)), point
