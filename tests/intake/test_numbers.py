import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.intake import faults
from campaign.intake.faults import Fault
from campaign.intake.numbers import read_number


@pytest.mark.parametrize(
    ("cell", "region", "e164"),
    [
        ("+14155550100", None, "+14155550100"),
        ("(415) 555-0100", "US", "+14155550100"),
        ("1 415.555.0100", "US", "+14155550100"),
        ("'+14155550100", None, "+14155550100"),
        ("'4155550100", "US", "+14155550100"),
        ("tel:+1-415-555-0100", None, "+14155550100"),
        ("TEL: 415 555 0100", "US", "+14155550100"),
        ("4155550100.0", "US", "+14155550100"),
        ("0044 20 7946 0123", "US", "+442079460123"),
        ("0044 20 7946 0123", None, "+442079460123"),
        ("011 44 20 7946 0123", "US", "+442079460123"),
        ("00 886 2 2555 0100", "TW", "+886225550100"),
        ("+44 (0)20 7946 0123", None, "+442079460123"),
        ("030/23125000", "DE", "+493023125000"),
        ("＋８８６ ２ ２５５５ ０１００", None, "+886225550100"),
        ("\u202a+886 2 2555 0100\u202c", None, "+886225550100"),
        ("\u00a0+49\u00a030\u00a023125\u00a0000 ", None, "+493023125000"),
    ],
)
def test_what_people_write_becomes_e164(cell: str, region: str | None, e164: str) -> None:
    assert read_number(cell, region) == e164


@pytest.mark.parametrize(
    ("cell", "region", "fault"),
    [
        ("", "US", faults.EMPTY),
        (" \u200b ", "US", faults.EMPTY),
        ("n/a", "US", faults.NOT_A_NUMBER),
        ("#####", "US", faults.NOT_A_NUMBER),
        ("+", None, faults.NOT_A_NUMBER),
        ("1-800-FLOWERS", "US", faults.LETTERS),
        ("9.19E+11", "US", faults.SCIENTIFIC),
        ("4,15556e+09", "US", faults.SCIENTIFIC),
        ("415 555 0100", None, faults.NO_COUNTRY),
        ("14155550100", None, faults.NO_COUNTRY),
        ("+999 123456", None, faults.UNKNOWN_COUNTRY),
        ("415 555 0100 x123", "US", faults.EXTENSION),
        ("+1 415 555 0100 ext. 5", None, faults.EXTENSION),
        ("415 555 0100 / 415 555 0101", "US", faults.SEVERAL),
        ("415 555 0100 or 415 555 0101", "US", faults.SEVERAL),
        ("911", "US", faults.EMERGENCY),
        ("112", None, faults.EMERGENCY),
        ("119", "TW", faults.EMERGENCY),
        ("+1 911", None, faults.EMERGENCY),
        ("211", "US", faults.SHORT),
        ("900 555 0100", "US", faults.PREMIUM),
        ("0909 8790123", "GB", faults.PREMIUM),
        ("+88161234 5678", None, faults.SATELLITE),
        ("555-0100", "US", faults.too_short("US")),
        ("415 555 01", "US", faults.too_short("US")),
        ("+911", None, faults.too_short("any country")),
        ("415 555 0100 99", "US", faults.too_long("US")),
        ("1" * 300, "US", faults.too_long("US")),
        ("123 456 7890", "US", faults.not_in_use("US")),
    ],
)
def test_each_fault_has_its_own_reason(cell: str, region: str | None, fault: Fault) -> None:
    assert read_number(cell, region) == fault


@given(st.text(max_size=60), st.sampled_from([None, "US", "TW", "DE"]))
def test_no_cell_raises_and_no_fault_repeats_it(cell: str, region: str | None) -> None:
    answer = read_number(cell, region)
    if isinstance(answer, str):
        assert answer[0] == "+"
        assert 7 <= len(answer[1:]) <= 15
        assert answer[1:].isascii()
        assert answer[1:].isdigit()
    else:
        assert answer.reason
        assert answer.remedy


@given(st.from_regex(r"[0-9+() .\-]{3,20}", fullmatch=True))
def test_a_number_once_read_reads_as_itself(cell: str) -> None:
    answer = read_number(cell, "US")
    if isinstance(answer, str):
        assert read_number(answer, None) == answer
