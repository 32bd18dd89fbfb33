"""A revision may only add, so that yesterday's workers go on while today's are started; a contraction says that it is
one, and comes a version later."""

import ast

import pytest

from campaign.storage.migrate import SCRIPTS

FIRST = "0001"
CONTRACTS = "Contracts:"
"""What the docstring of a revision says that takes something away, followed by the version that needs it no more."""

ADDS = {"create_table", "create_index", "add_column", "create_check_constraint", "execute", "f", "get_bind"}
"""Of Alembic's operations; everything else changes or takes away what an older version knows."""

REVISIONS = sorted(path for path in (SCRIPTS / "versions").glob("*.py") if not path.name.startswith(FIRST))


def faults(source: str) -> list[str]:
    """What in ``upgrade`` an older version may stumble over."""
    tree = ast.parse(source)
    if CONTRACTS in (ast.get_docstring(tree) or ""):
        return []
    upgrade = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)]
    return [fault for call in calls for fault in _of_call(call, upgrade)]


def _of_call(call: ast.Call, upgrade: ast.FunctionDef) -> list[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if owner not in ("op", "batch_op"):
        return []
    if name == "drop_constraint":
        return [] if _is_widened(ast.literal_eval(call.args[0]), upgrade) else ["drop_constraint"]
    if name == "execute" and not ast.unparse(call.args[0]).strip("'\"").upper().startswith(("UPDATE", "INSERT")):
        return ["execute of what is no UPDATE or INSERT"]
    if name in ("add_column", "create_index"):
        return _of_addition(name, call)
    return [] if name in ADDS or name == "batch_alter_table" else [name]


def _of_addition(name: str, call: ast.Call) -> list[str]:
    words = {keyword.arg: ast.unparse(keyword.value) for node in ast.walk(call) if isinstance(node, ast.Call)
             for keyword in node.keywords}  # fmt: skip
    if name == "create_index":
        return ["a unique index on what older versions write"] if words.get("unique") == "True" else []
    if words.get("nullable", "True") == "False" and "server_default" not in words:
        return ["a column that older versions would leave empty"]
    return []


def _is_widened(constraint: str, upgrade: ast.FunctionDef) -> bool:
    """Made anew under its name in the same upgrade, which a review must find wider."""
    made = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return any(
        node.func.attr == "create_check_constraint" and ast.literal_eval(node.args[0]) == constraint  # type: ignore[attr-defined]
        for node in made
    )


def test_every_revision_after_the_first_only_adds() -> None:
    assert {path.name: found for path in REVISIONS if (found := faults(path.read_text()))} == {}


def test_there_is_a_first_revision_and_it_is_the_only_one_that_is_excused() -> None:
    names = [path.name[:4] for path in sorted((SCRIPTS / "versions").glob("*.py"))]
    assert names[0] == FIRST
    assert names == [f"{number:04d}" for number in range(1, len(names) + 1)]


GOOD = """
op.create_table("news", sa.Column("id", sa.Integer(), nullable=False))
op.add_column("attempts", sa.Column("account", sa.String(16), nullable=True))
op.add_column("attempts", sa.Column("tries", sa.Integer(), nullable=False, server_default="0"))
op.create_index("ix_attempts_account", "attempts", ["account"])
op.drop_constraint("ck_attempts_state_is_a_word", "attempts")
op.create_check_constraint("ck_attempts_state_is_a_word", "attempts", "state IN ('claimed', 'parked')")
op.execute("UPDATE attempts SET account = line")
"""
BAD = {
    'op.drop_column("attempts", "raw")': "drop_column",
    'op.drop_table("events")': "drop_table",
    'op.rename_table("events", "journal")': "rename_table",
    'op.alter_column("attempts", "raw", new_column_name="word")': "alter_column",
    'op.alter_column("attempts", "raw", nullable=False)': "alter_column",
    'op.drop_index("one_live_attempt_per_number")': "drop_index",
    'op.drop_constraint("ck_attempts_state_is_a_word", "attempts")': "drop_constraint",
    'op.create_unique_constraint("uq_phone", "attempts", ["phone"])': "create_unique_constraint",
    'op.create_index("ix_phone", "attempts", ["phone"], unique=True)': "a unique index on what older versions write",
    'op.add_column("attempts", sa.Column("account", sa.String(16), nullable=False))':
        "a column that older versions would leave empty",
    'op.execute("ALTER TABLE attempts DROP COLUMN raw")': "execute of what is no UPDATE or INSERT",
    'with op.batch_alter_table("attempts") as batch_op:\n        batch_op.drop_column("raw")': "drop_column",
}  # fmt: skip


def revision(body: str, says: str = "more") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f'"""{says}"""\n\ndef upgrade() -> None:\n{lines}\n\ndef downgrade() -> None:\n    op.drop_table("news")\n'


def test_what_adds_passes() -> None:
    assert faults(revision(GOOD)) == []


@pytest.mark.parametrize("body", BAD)
def test_what_takes_away_or_narrows_is_found_unless_it_says_so(body: str) -> None:
    assert faults(revision(body)) == [BAD[body]]
    assert faults(revision(body, "Contracts: nothing since 0.4 reads raw")) == []
