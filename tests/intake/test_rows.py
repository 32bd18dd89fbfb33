import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.domain.errors import UsageFault
from campaign.intake.layout import layout_of
from campaign.intake.reading import Limits, Reading
from campaign.intake.rows import GoodRow, read_rows
from campaign.intake.text import HEAD
from tests.intake.reading import US, blocks, laid_out, read

HEADER = "Name,Mobile,Notes\n"


def phones(content: str | bytes) -> list[str]:
    return [row.phone for row in read(content)[0]]


def reasons(content: str | bytes, reading: Reading = US) -> list[tuple[int, str, str]]:
    return [(row.line_no, row.field, row.reason.split(";")[0]) for row in read(content, reading)[1]]


def test_every_column_but_the_phone_is_a_variable_as_it_came() -> None:
    good, _ = read(HEADER + ' Ann ,(415) 555-0100,"line one\nline two; ""x"""\n')
    assert good == [GoodRow(2, "+14155550100", "(415) 555-0100", {"Name": " Ann ", "Notes": 'line one\nline two; "x"'})]


def test_line_numbers_count_physical_lines() -> None:
    content = HEADER + 'A,+14155550100,"1\n2\n3"\n\nB,+14155550101,\n,,\nC,bad,\n'
    good, rejected = read(content)
    assert [row.line_no for row in good] == [2, 6]
    assert [row.line_no for row in rejected] == [8]


def test_a_header_of_several_lines() -> None:
    good, rejected = read('"Full\nName",Mobile\nAnn,+14155550100\nBob,nope\n')
    assert [(row.line_no, row.variables) for row in good] == [(3, {"Full\nName": "Ann"})]
    assert [row.line_no for row in rejected] == [4]


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ("Ann,+14155550100", "row", "has fewer columns than the header"),
        ("Lee, Ann,+14155550100,x", "row", "has more columns than the header"),
        ("Ann,,x", "Mobile", "is empty"),
        ("Ann,+1415555\x000100,x", "Mobile", "holds a control character (NUL or similar)"),
        ("A\x07nn,+14155550100,x", "Name", "holds a control character (NUL or similar)"),
        (f"Ann,+14155550100,{'x' * 4097}", "Notes", "is longer than a cell may be"),
        (f"Ann,+14155550100,{'x' * 140_000}", "row", "is longer than a cell may be"),
        (f"Ann,+14155550100,{'x,' * 200_000}", "row", "is longer than a row may be"),
        ('Ann,+14155550100,"open', "row", "has a quotation mark without its partner"),
        ('"Ann "Annie" Lee",+14155550100,x', "row", "has a quotation mark without its partner"),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_costs_no_other(row: str, field: str, reason: str) -> None:
    content = f"{HEADER}A,+14155550101,\n{row}\nB,+14155550102,\nC,+14155550103,\n"
    assert reasons(content) == [(3, field, reason)]
    assert phones(content) == ["+14155550101", "+14155550102", "+14155550103"]


def test_cells_of_a_rejected_row_are_as_they_came() -> None:
    _, rejected = read(HEADER + ' Ann , n/a ,"a\nb"\nBob,"+1415,x\nEve,1,2,3,4\n')
    assert [row.cells for row in rejected] == [
        [" Ann ", " n/a ", "a\nb"],
        ["Bob", '"+1415', "x"],
        ["Eve", "1", "2", "3", "4"],
    ]


def test_an_open_quote_does_not_swallow_rows_up_to_the_next_quote() -> None:
    content = HEADER + 'A,+14155550100,"open\nB,+14155550101,x\nC,+14155550102,x\nD,+14155550103,closed"\n'
    assert phones(content) == ["+14155550101", "+14155550102", "+14155550103"]
    assert [row[0] for row in reasons(content)] == [2]


def test_rows_that_are_rejected_do_not_vanish_in_a_cell_either() -> None:
    content = HEADER + 'A,+14155550100,"open\nB,0912 345 678,x\nC,0912 345 679,closed"\n'
    assert [row[0] for row in reasons(content)] == [2, 3, 4]


def test_the_last_line_of_a_record_of_the_wrong_width_may_be_a_row() -> None:
    assert phones(HEADER + 'A,"open,x\nB,+14155550101,bye"\n') == ["+14155550101"]


def test_a_note_longer_than_a_cell_may_be_is_one_rejected_row() -> None:
    note = "\n".join(["x" * 60] * 100)
    assert reasons(f'{HEADER}A,+14155550100,"{note}"\n') == [(2, "Notes", "is longer than a cell may be")]


def test_an_address_whose_last_line_looks_like_a_row_stays_a_cell() -> None:
    content = '"Name","Address","Phone"\n"Ann","12 Main St\nApt 4, NY","+14155550100"\n'
    assert [row.variables["Address"] for row in read(content)[0]] == ["12 Main St\nApt 4, NY"]


def test_cells_with_many_lines_are_read_and_runaway_ones_are_not() -> None:
    note = "\n".join(["line"] * 150)
    assert len(phones(f'{HEADER}A,+14155550100,"{note}"\n')) == 1
    content = f'{HEADER}A,+14155550100,"open\n' + "junk\n" * 5000 + "B,+14155550101,\n"
    assert phones(content) == ["+14155550101"]


def test_empty_cells_that_a_spreadsheet_adds_are_no_columns() -> None:
    assert phones(HEADER + "A,+14155550100,x,,,\n,,,,,\n") == ["+14155550100"]


def test_bytes_that_are_no_text_cost_their_row_only() -> None:
    lines = [f"N{i},+1415555{i:04},x\n".encode() for i in range(60)]
    lines[30] = "Zoë,+14155550030,x\n".encode("latin-1")
    good, rejected = read(HEADER.encode() + b"".join(lines))
    assert len(good) == 59
    assert (rejected[0].field, rejected[0].cells[0]) == ("Name", "Zo\\xeb")
    assert "--encoding" in rejected[0].remedy


def test_a_file_whose_other_rows_prove_its_encoding_loses_only_the_row_that_is_not_in_it() -> None:
    # Given a short UTF-8 file into which somebody has pasted one row of another encoding
    content = "Name,Mobile\nZoë,+14155550100\n".encode() + b"Ren\xe9,+14155550101\n" + b"Ann,+14155550102\n"
    # Then that row is rejected and no good one with it
    good, rejected = read(content)
    assert [row.phone for row in good] == ["+14155550100", "+14155550102"]
    assert [(row.line_no, row.field) for row in rejected] == [(3, "Name")]


def test_a_declared_encoding_keeps_what_it_can() -> None:
    content = b"Name,Mobile\nZo\xeb,+14155550100\nAnn,+14155550101\n"
    good, rejected = read(content, Reading(encoding="utf-8"))
    assert (len(good), len(rejected)) == (1, 1)


def test_the_list_of_rejects_loses_its_own_columns_again() -> None:
    content = "_line,_field,_reason,_remedy,Name,Mobile\n3,Mobile,is empty,write it,Ann,'+14155550100\n4,x,y,z,Bob\n"
    good, rejected = read(content)
    assert good == [GoodRow(2, "+14155550100", "+14155550100", {"Name": "Ann"})]
    assert (rejected[0].reason, rejected[0].cells) == ("has fewer columns than the header", ["Bob"])


def test_limits_are_the_readings() -> None:
    tight = Reading(region="US", limits=Limits(field=3, columns=3))
    assert reasons("Name,Mobile\nAnne,+14155550100\n", Reading(region="US", limits=Limits(field=10))) == [
        (2, "Mobile", "is longer than a cell may be")
    ]
    with pytest.raises(UsageFault, match="a name in the header is longer than 3"):
        read("Name,Mobile\nAnne,+14155550100\n", tight)


GOOD_LINE = "Zoë,+1415555{:04},ok\n"
NOISE = st.text(alphabet="a1+,\"'\n\r \t;|\x00é", max_size=30)


@given(st.lists(NOISE, min_size=1, max_size=8), st.integers(1, 9))
def test_no_neighbour_costs_a_good_row(noise: list[str], size: int) -> None:
    # Given good rows, each on a line of its own, between lines of any kind
    lines = [HEADER]
    for number, bad in enumerate(noise):
        lines += [bad, "\n", GOOD_LINE.format(number)]
    # When read
    good, rejected = read("".join(lines), size=size)
    # Then every good row is there, under its own number; what else there is was kept
    found = {row.phone for row in good}
    wanted = {f"+1415555{number:04}" for number in range(len(noise))}
    assert wanted <= found
    assert all(row.reason and row.remedy for row in rejected)


@given(st.binary(max_size=400), st.sampled_from([None, "utf-8", "cp1252", "gb18030", "utf-16", "utf-7", "shift_jis"]))
def test_random_bytes_raise_nothing_but_the_one_fault(content: bytes, encoding: str | None) -> None:
    reading = Reading(region="US", encoding=encoding)
    for prefix in (b"", HEADER.encode(encoding or "utf-8")):
        try:
            read(prefix + content, reading, size=11)
        except UsageFault as fault:
            assert str(fault)  # noqa: PT017 (either outcome is right, any other exception is not)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_the_size_of_the_blocks_changes_nothing(content: bytes, size: int) -> None:
    whole = HEADER.encode() + content + b"\n"
    try:
        layout = laid_out(whole)
    except UsageFault:
        return
    assert list(read_rows(blocks(whole, size), layout, US)) == list(read_rows([whole], layout, US))


def _many(rows: int) -> Iterator[bytes]:
    yield HEADER.encode()
    for start in range(0, rows, 1000):
        lines = (f"Person {i},+1415{2_000_000 + i},note {i}\n" for i in range(start, start + 1000))
        yield "".join(lines).encode()


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(rows: int) -> tuple[int, int]:
        layout = layout_of(next(_many(1)) + b"x,y,z\n" * 9, US, whole=False)
        tracemalloc.start()
        read_count = sum(1 for _ in read_rows(_many(rows), layout, US))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return read_count, used

    peak(1000)  # loads what phonenumbers loads once
    few, many = peak(1000), peak(10_000)
    assert (few[0], many[0]) == (1000, 10_000)
    assert many[1] < few[1] + 70_000


def test_a_file_made_to_be_slow_is_read_in_reasonable_work() -> None:
    # Given lines that each open a quote when read alone and keep it open when read inside one
    content = (HEADER + 'x",",\n' * 3000 + "A,+14155550100,\n").encode()
    # Then the good row is found (and the test ends)
    assert phones(content) == ["+14155550100"]


def test_any_order_of_good_and_broken_rows() -> None:
    kinds = [
        "{n},+1415555{i:04},ok\n",
        '{n},+1415555{i:04},"a\nb"\n',
        '{n},"+1415555,open\n',
        "{n},911,x\n",
        '"{n}"x,1,2\n',
    ]
    rng = random.Random(7)
    chosen = [rng.randrange(len(kinds)) for _ in range(400)]
    content = HEADER + "".join(kinds[kind].format(n=f"N{i}", i=i) for i, kind in enumerate(chosen))
    good, rejected = read(content)
    assert {row.phone for row in good} == {f"+1415555{i:04}" for i, kind in enumerate(chosen) if kind < 2}
    assert len(rejected) == sum(kind >= 2 for kind in chosen)
    assert len(content.encode()) < HEAD
