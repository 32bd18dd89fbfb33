import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.intake.sheet import EXTRA, RejectedRow, escaped, joint_header, placed, unescaped, write_rows
from tests.intake.reading import read

CELL = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    alphabet="'=+-@\t\r\n,;\"|ab1", max_size=8
)


@given(CELL)
def test_export_and_import_of_a_cell_are_inverse(cell: str) -> None:
    assert unescaped(escaped(cell)) == cell


@given(CELL)
def test_no_exported_cell_runs_in_a_spreadsheet(cell: str) -> None:
    assert not escaped(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))


def test_e164_goes_out_escaped_and_comes_back() -> None:
    assert escaped("+14155550100") == "'+14155550100"
    assert unescaped("'+14155550100") == "+14155550100"
    assert unescaped("'tis") == "'tis"


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=6))
def test_rejected_rows_come_back_cell_by_cell(rows: list[list[str]]) -> None:
    # Given rows that are rejected for their phone, exported
    rows = [[first, "no number", last] for first, _, last in rows]
    out = io.StringIO()
    write_rows(out, [[*EXTRA, "Name", "Mobile", "Notes"], *([i, "f", "r", "m", *row] for i, row in enumerate(rows))])
    # When the export is uploaded unmended
    good, rejected = read(out.getvalue())
    # Then the same rows are rejected again, unchanged (a control character only changes the reason)
    assert not good
    assert [row.cells for row in rejected] == rows


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6))
def test_mended_rows_are_taken_whole(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    lines = [[i, "f", "r", "m", name, "+14155550100", note] for i, (name, note) in enumerate(rows)]
    write_rows(out, [[*EXTRA, "Name", "Mobile", "Notes"], *lines])
    good, rejected = read(out.getvalue())
    assert [(row.variables["Name"], row.variables["Notes"]) for row in good] + [
        (row.cells[0], row.cells[2]) for row in rejected
    ] != []
    taken = [(row.variables["Name"], row.variables["Notes"]) for row in good]
    assert taken == [pair for pair in rows if pair in taken]
    assert all("control character" in row.reason for row in rejected)


@pytest.mark.parametrize("cells", [["a"], ["a", "b"], ["a", "b", "c", "d"], []])
def test_too_many_and_too_few_stay_so(cells: list[str]) -> None:
    assert placed(cells, [0, 1, 2], 3) == cells


def test_uploads_with_other_headers_share_one_list() -> None:
    header = joint_header([(1, ["Name", "Mobile"], 1), (2, ["Phone", "City", "Name"], 0)])
    assert header.names == ["Name", "Mobile", "City"]
    assert placed(["Ann", "x"], header.places[1], 3) == ["Ann", "x", ""]
    assert placed(["x", "Rome", "Bob"], header.places[2], 3) == ["Bob", "x", "Rome"]


def test_a_rejected_row_names_line_field_reason_and_remedy() -> None:
    assert RejectedRow._fields == ("line_no", "field", "reason", "remedy", "cells")
