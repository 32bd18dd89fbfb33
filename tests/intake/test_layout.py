import codecs

import pytest

from campaign.domain.errors import UsageFault
from campaign.intake.reading import Limits, Reading
from tests.intake.reading import US, laid_out, read

ROWS = "Ann,+14155550100\n"


@pytest.mark.parametrize(
    "name",
    [
        "phone", "Phone Number", "PHONE-NUMBER", "phone_number", "phoneNumber", "Mobile", "MSISDN", "tel", "Tel.",
        "telephone", "Cell", "number", "Telefon", "Telefon Numarası", "TELEFON NUMARASI", "Rufnummer", "Téléphone",
        "電話", "手機", "手机号码", "携帯電話番号", "전화번호", "Mobile No.", "Customer Phone", "phone_1", "客戶電話",
        " Phone ", "Contact number", "Телефон",
    ],
)  # fmt: skip
def test_the_phone_column_is_found_by_its_name(name: str) -> None:
    assert laid_out(f"Name,{name}\n{ROWS}").phone == 1


@pytest.mark.parametrize(
    "other", ["Phone Type", "Mobile Provider", "telephone_country", "Number of phones", "Cell Plan"]
)
def test_a_column_about_phones_is_no_phone_column(other: str) -> None:
    assert laid_out(f"{other},Phone\nx,+14155550100\n").phone == 1


def test_a_plain_phone_goes_before_home_phone_and_number() -> None:
    assert laid_out("Number,Home phone,Phone\n1,+14155550101,+14155550100\n").phone == 2


def test_two_candidates_are_named_with_the_remedy() -> None:
    with pytest.raises(UsageFault, match=r"'Mobile', 'Phone Number'.*--map phone=Mobile"):
        laid_out("Mobile,Phone Number\n+14155550100,+14155550101\n")


def test_a_mapping_settles_it_in_any_spelling() -> None:
    content = "Mobile,Phone Number\n+14155550100,+14155550101\n"
    assert laid_out(content, Reading(mapping={"phone": "phone-number"})).phone == 1
    assert laid_out(content, Reading(mapping={"phone": "2"})).phone == 1


def test_a_mapping_to_nowhere_names_the_columns() -> None:
    with pytest.raises(UsageFault, match="no column 'Handy'; its columns are 'Name', 'Mobile'"):
        laid_out(f"Name,Mobile\n{ROWS}", Reading(mapping={"phone": "Handy"}))


def test_no_phone_column_proposes_the_one_that_holds_numbers() -> None:
    with pytest.raises(UsageFault, match=r"'Name', 'Kontakt'; .*--map phone=Kontakt"):
        laid_out(f"Name,Kontakt\n{ROWS}")


def test_a_file_without_a_header_is_read_from_its_first_row() -> None:
    good, rejected = read("+14155550100,Ann\n+14155550101,Bob\n")
    assert [(row.line_no, row.phone, row.variables) for row in good] == [
        (1, "+14155550100", {"column_2": "Ann"}),
        (2, "+14155550101", {"column_2": "Bob"}),
    ]
    assert not rejected


def test_without_a_header_and_with_two_numbers_a_row_the_place_must_be_said() -> None:
    content = "+14155550100,+14155550101\n"
    with pytest.raises(UsageFault, match="--map phone=1") as fault:
        laid_out(content)
    assert "5550" not in str(fault.value)
    assert [row.phone for row in read(content, Reading(mapping={"phone": "2"}))[0]] == ["+14155550101"]


def test_a_message_never_shows_a_number_that_stands_where_a_header_should() -> None:
    with pytest.raises(UsageFault) as fault:
        laid_out("Ann,4155550100\nBob,4155550101\n", Reading())
    assert "5550" not in str(fault.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    content = f'Name{delimiter}Mobile{delimiter}Notes\n"Lee, Ann; x|y"{delimiter}+14155550100{delimiter}a\n'
    good, _ = read(content)
    assert good[0].variables == {"Name": "Lee, Ann; x|y", "Notes": "a"}


def test_one_column_needs_no_delimiter() -> None:
    assert [row.phone for row in read("Phone\n+14155550100\n415 555 0101\n")[0]] == ["+14155550100", "+14155550101"]


def test_excels_own_line_about_the_delimiter_is_obeyed_and_line_numbers_count_it() -> None:
    good, _ = read("sep=;\r\nName;Mobile\r\nAnn;+14155550100\r\n")
    assert (good[0].line_no, good[0].variables) == (3, {"Name": "Ann"})


def test_a_declared_delimiter_wins() -> None:
    assert laid_out("phone|x;y\n+14155550100|1;2\n", Reading(delimiter="semicolon", mapping={"phone": "1"})).width == 2
    with pytest.raises(UsageFault, match="comma, semicolon, tab or pipe"):
        laid_out("phone\n1\n", Reading(delimiter=":"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_unicode_is_recognised_by_itself(encoding: str, end: str) -> None:
    content = end.join(["Name,電話", "Zoë,+14155550100", '"a', 'b",+14155550101', ""]).encode(encoding)
    good, rejected = read(content, size=7)
    assert [row.variables["Name"] for row in good] == ["Zoë", f"a{end}b"]
    assert not rejected


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_and_without_a_mark(encoding: str) -> None:
    text = "Name,Mobile\nZoë,+14155550100\n"
    mark = codecs.BOM_UTF16_LE if encoding.endswith("le") else codecs.BOM_UTF16_BE
    assert read(mark + text.encode(encoding))[0][0].variables == {"Name": "Zoë"}
    assert read(text.encode(encoding), Reading(encoding=encoding))[0][0].variables == {"Name": "Zoë"}
    with pytest.raises(UsageFault, match=f"--encoding {encoding}"):
        laid_out(text.encode(encoding))


@pytest.mark.parametrize(("encoding", "name"), [("windows-1252", "Zoë"), ("cp1254", "Şükrü"), ("big5", "陳小姐")])
def test_other_encodings_are_declared(encoding: str, name: str) -> None:
    content = f"Name,Mobile\n{name},+14155550100\n".encode(encoding)
    assert read(content, Reading(encoding=encoding))[0][0].variables == {"Name": name}
    with pytest.raises(UsageFault, match=r"line 2: the file is not UTF-8.*--encoding"):
        laid_out(content)


@pytest.mark.parametrize("encoding", ["klingon", "base64", "idna", "unicode_escape", "a\0b", "x" * 500])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(UsageFault, match="encoding"):
        laid_out(f"phone\n{ROWS}", Reading(encoding=encoding))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"\n \r\n", "empty"),
        (codecs.BOM_UTF8, "empty"),
        (b",,,\n,,\n", "empty"),
        (b"Name,Phone\n", "no rows"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\x1f\x8b\x08rest", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b'Name,"Phone\n', "line 1: the header has a quotation mark"),
        (b"Na\x00me,Phone\nx,+14155550100\n", "no text"),
        (b"," * 70 + b"phone\n1\n", "71 columns and 64 are allowed"),
        (b"x" * 300_000, "first line does not end"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(UsageFault, match=sentence):
        laid_out(content)


def test_names_of_variables_are_unique_and_never_empty() -> None:
    layout = laid_out("Name,Phone,,Name,name,Name_2\na,+14155550100,b,c,d,e\n")
    assert layout.names == ("Name", "Phone", "column_3", "Name_2", "name", "Name_2_2")
    assert layout.columns[0] == "Phone"


def test_a_delimiter_at_the_end_of_every_line_names_no_column() -> None:
    good, rejected = read("Name,Phone,\nAnn,+14155550100,\nBob,+14155550101\n")
    assert [row.variables for row in good] == [{"Name": "Ann"}, {"Name": "Bob"}]
    assert not rejected


def test_blanks_between_delimiter_and_quotation_mark() -> None:
    good, rejected = read('"Name", "Phone", "Notes"\n"Ann", "+14155550100", "a, b"\n')
    assert [row.variables for row in good] == [{"Name": "Ann", "Notes": "a, b"}]
    assert not rejected


@pytest.mark.parametrize("region", ["UK", "USA", "Germany", "0"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(UsageFault, match="ISO 3166-1"):
        laid_out(f"Name,Phone\n{ROWS}", Reading(region=region))


def test_only_the_phone_can_be_mapped() -> None:
    with pytest.raises(UsageFault, match="'name' cannot be mapped"):
        laid_out(f"Name,Phone\n{ROWS}", Reading(mapping={"name": "Name"}))


def test_a_reading_travels_as_json() -> None:
    reading = Reading("TW", {"phone": "Mobile"}, "big5", ";", Limits(columns=3))
    assert Reading.from_json({**reading.as_json(), "layout": {"header": []}}) == reading
    assert Reading.from_json({}) == Reading()


def test_nothing_of_a_file_without_a_header_shows_in_a_repr() -> None:
    assert "5550" not in repr(laid_out("+14155550100,x\n", US))
