"""The manners of the house, as far as a machine can judge them: sizes, names, pins, documents, nothing private."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from campaign.config import KEYS

SOURCES = [*sorted(Path("campaign").rglob("*.py")), *sorted(Path("workers").rglob("*.py")), Path("celeryconfig.py")]
WRITTEN_BY_HAND = [path for path in SOURCES if "versions" not in path.parts]  # Alembic writes the others
PINS = sorted(Path("requirements").glob("*.txt"))
LONGEST_FILE = 400
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base"}

# Put together here so that this file does not find itself.
PRIVATE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:work|root)/",  # folders of a machine
            r"(?<![\w.])/(?:home|Users)/(?!nobody|app)\w",
            r"pypi\." + "org/simple|files\\.python" + "hosted",  # where packages come from
            r"--(?:extra-)?index-" + r"url\s+\S|--find-" + r"links\s+\S",
            "shared/" + "reference",
        ]
    )
)

# A declared package that no line of ours imports, and why it is there.
ONLY_DECLARED = {
    "flower": "celery -A workers flower",
    "jinja2": "fastapi loads it for the pages",
    "psycopg": "SQLAlchemy loads it for postgresql://",
    "python-multipart": "fastapi loads it for uploads",
    "tzdata": "zoneinfo reads it where the machine has no zones",
    "uvicorn": "started by name",
}


def none(faults: list[str]) -> None:
    assert not faults, "\n".join(faults)


def tracked() -> list[Path]:
    """Every file under version control; every text file of ours where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return [path for name in listed.stdout.split("\0") if name and (path := Path(name)).is_file()]
    return [*SOURCES, *Path("tests").rglob("*.py"), *Path("docs").rglob("*.md"), *Path().glob("*.*")]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_a_file_can_be_read_in_one_sitting() -> None:
    texts = {path: path.read_text() for path in WRITTEN_BY_HAND}
    none([f"{path} is too long" for path, text in texts.items() if len(text.splitlines()) > LONGEST_FILE])
    none([f"{path} says nothing by its name" for path in texts if path.stem in NAMES_THAT_SAY_NOTHING])
    none([f"{path} does not say what it is for" for path in texts if not ast.get_docstring(ast.parse(texts[path]))])


def test_functions_are_short() -> None:
    lengths = sorted(length(function) for path in WRITTEN_BY_HAND for function in functions(path))
    assert statistics.median(lengths) < 10
    assert lengths[int(len(lengths) * 0.9)] <= 35


def test_nothing_tracked_tells_of_a_machine_or_of_where_packages_come_from() -> None:
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a recording or an example in another encoding
        found += [f"{path}:{number}: {hit[0]}" for number, line in enumerate(lines, 1) if (hit := PRIVATE.search(line))]
    none(found)


@pytest.mark.parametrize(
    "text",
    ["see /ro" + "ot/x", "--index-" + "url https://h/simple", "https://files.python" + "hosted.org", "/ho" + "me/ann"],
)
def test_what_is_private_is_recognised(text: str) -> None:
    assert PRIVATE.search(text)


def test_every_celery_setting_has_its_reason_beside_it() -> None:
    paragraphs = Path("celeryconfig.py").read_text().split("\n\n")
    settings = [paragraph for paragraph in paragraphs if re.search(r"^[a-z_]+ = ", paragraph, re.MULTILINE)]
    assert settings
    assert [paragraph for paragraph in settings if "#" not in paragraph] == []


def test_every_setting_is_documented() -> None:
    documents = [path.read_text() for path in [Path("README.md"), *Path("docs").rglob("*.md")] if path.exists()]
    missing = [key for key in KEYS if not any(f"CAMPAIGN_{key.upper()}" in text for text in documents)]
    none([f"CAMPAIGN_{key.upper()} stands in no document" for key in missing])


def test_every_pin_is_one_version_with_hashes() -> None:
    assert len(PINS) == 4
    for path in PINS:
        for pin in re.sub(r"\\\n\s*", "", path.read_text()).splitlines():
            assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", pin), f"{path}: {pin[:60]}"


def test_every_dependency_is_pinned_and_every_import_is_declared() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=; ]", line)[0] for line in project["dependencies"]}
    pinned = set(re.findall(r"^([a-z0-9-]+)", Path("requirements/run.txt").read_text(), re.MULTILINE))
    assert declared <= pinned
    used = {name.replace("_", "-") for path in SOURCES for name in third_party(path)}
    comes_with_another = {"kombu", "billiard", "pydantic-core", "starlette", "yarl", "multidict"}
    assert used - declared <= comes_with_another, "declare it in pyproject.toml"
    assert declared - used <= set(ONLY_DECLARED), "nothing uses it"


def third_party(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"campaign", "workers", "celeryconfig"}


def test_a_wheel_carries_everything_that_runs(tmp_path: Path) -> None:
    # Given a copy of the sources, since a build writes beside them
    for name in ("campaign", "workers"):
        shutil.copytree(name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "celeryconfig.py", "README.md"):
        shutil.copy(name, tmp_path)
    # When it is built with what is installed
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    said = subprocess.run(
        [*build, "--wheel-dir", tmp_path, tmp_path], capture_output=True, text=True, check=False, env=quiet()
    )
    assert said.returncode == 0, said.stderr
    # Then every file that git knows in the packages is inside
    wheel = ZipFile(next(tmp_path.glob("campaign-*.whl")))
    inside = set(wheel.namelist())
    ours = {str(path) for path in tracked() if path.parts[0] in ("campaign", "workers", "celeryconfig.py")}
    none([f"{name} is missing in the wheel" for name in sorted(ours - inside)])
    # And it introduces itself with the README, which the image's builder is given too
    metadata = wheel.read(next(name for name in inside if name.endswith("METADATA"))).decode()
    assert "Description-Content-Type: text/markdown" in metadata
    assert "## Two commands" in metadata
    assert "README.md" in Path("Dockerfile").read_text()
    assert "!README.md" in Path(".dockerignore").read_text().splitlines()


def quiet() -> dict[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
