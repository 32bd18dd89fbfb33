"""The arrows of the house: who may import whom, and where network, broker, SQL, time and chance may come in."""

import ast
from collections.abc import Iterator
from pathlib import Path

BELOW = {"domain", "policies", "intake", "providers", "storage"}
MAY_IMPORT = {  # room -> the rooms it may name, beside itself
    "domain": set[str](),
    **{room: {"domain"} for room in ("policies", "intake", "providers", "storage", "configuration")},
    "services": BELOW | {"configuration"},
    "runtime": BELOW | {"services", "configuration"},  # the composition root
}
EDGES = {"cli", "console", "workers"}  # may import every room, and start one another
CONFIGURATION = {"config", "faults", "lines_file", "plan_file"}
ONLY_IN = {  # a library of the outside -> the only places that may name it
    **dict.fromkeys(("celery", "kombu", "redis", "fakeredis", "flower"), ("workers/", "celeryconfig.py")),
    **dict.fromkeys(("httpx", "httptools", "requests", "urllib.request", "http.client"), ("campaign/providers/",)),
    **dict.fromkeys(("sqlalchemy", "alembic", "psycopg", "sqlite3"), ("campaign/storage/",)),
    **dict.fromkeys(("click", "rich"), ("campaign/cli/",)),
    **dict.fromkeys(("fastapi", "starlette", "jinja2"), ("campaign/console/",)),
    **dict.fromkeys(("random", "secrets", "uuid"), ("campaign/cli/", "campaign/console/", "workers/")),
}
EXCUSED = {("campaign/providers/simulator", "random")}  # a simulator is seeded; chance is its business
CLOCKS = {
    "time.time",
    "time.monotonic",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
}
CLOCK_KEEPERS = (
    "campaign/storage/engine.py",
    "campaign/cli/",
    "campaign/console/",
    "workers/",
    "campaign/providers/simulator/",
)

SOURCES = [*sorted(Path("campaign").rglob("*.py")), *sorted(Path("workers").rglob("*.py")), Path("celeryconfig.py")]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of a module of ours"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(dotted: str) -> str | None:
    """``campaign.storage.schema`` is of room ``storage``; None is not ours, or the bare package."""
    first, _, rest = dotted.partition(".")
    if first in ("workers", "celeryconfig"):
        return "workers"
    word = rest.split(".")[0]
    if first != "campaign" or not word or word.startswith("__"):
        return "cli" if word == "__main__" else None
    return "configuration" if word in CONFIGURATION else word


def test_imports_run_one_way() -> None:
    wrong = []
    for path in SOURCES:
        room = room_of(".".join(path.with_suffix("").parts))
        if room is None or room in EDGES:
            continue
        may = {None, room, *MAY_IMPORT[room]}  # a KeyError is a room that the map does not know
        wrong += [f"{path} ({room}) imports {name}" for name in imported(path) if room_of(name) not in may]
    assert not wrong, "\n".join(wrong)


def test_the_outside_comes_in_where_it_should() -> None:
    wrong = []
    for path in SOURCES:
        for name in imported(path):
            places = [where for what, where in ONLY_IN.items() if f"{name}.".startswith(f"{what}.")]
            excused = any(str(path).startswith(where) and name.startswith(what) for where, what in EXCUSED)
            if not excused and not all(str(path).startswith(where) for where in places):
                wrong.append(f"{path} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_time_is_an_argument() -> None:
    for path in SOURCES:
        told = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        clocks = told & (CLOCKS | {f"datetime.{clock}" for clock in CLOCKS})
        assert not clocks or str(path).startswith(CLOCK_KEEPERS), f"{path} reads {clocks}; take a clock or `now`"


PARTS_OF_EVERY_PROVIDER = {
    *("__init__", "port", "http", "transport", "connection", "answers", "registry", "simulator"),
}


def test_no_provider_imports_another() -> None:
    paths = [path for path in Path("campaign/providers").glob("*.py") if path.stem not in PARTS_OF_EVERY_PROVIDER]
    assert paths
    for path in paths:
        # netsapiens_records.py is a part of netsapiens.py
        others = tuple(f"campaign.providers.{other.stem}" for other in paths if not other.stem.startswith(path.stem))
        assert not [name for name in imported(path) if name.startswith(others)], f"{path} imports another provider"


def test_the_arrows_can_be_seen_to_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from campaign.storage import schema\nimport celery\n")
    assert [room_of(name) for name in imported(bad)] == ["storage", None]
    assert "celery" in ONLY_IN
