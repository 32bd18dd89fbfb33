"""Reading what providers send: whatever comes, a value comes out, and what is kept can be shown to anybody."""

from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.providers import answers
from tests.providers.junk import fuzzed, scalars

AT = 1_795_000_000.0  # 2026-11-18 11:06:40 UTC
NO_SECONDS: list[Any] = [-1, "", "x", None, True, [], "nan", "inf", 1e300, 10**400]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("busy", "busy"),
        ("  two \n lines\t", "two lines"),
        (486, "486"),
        (None, ""),
        (True, ""),
        ({"a": 1}, ""),
        ("number +14155550123 refused", "number [number] refused"),
        ("number (415) 555-0123.", "number ([number]."),
        ("bad key dk_live_9f8a7b6c5d4e3f2a1b0c", "bad key [hidden]"),
        ("HTTP_UNPROCESSABLE_ENTITY", "HTTP_UNPROCESSABLE_ENTITY"),
        ("zero\x00byte\ud800", "zero byte"),
        ("x" * 1000, "x" * 120),
    ],
)
def test_a_word_is_one_short_line_without_numbers_and_keys(value: Any, kept: str) -> None:
    assert answers.word(value) == kept


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        ("a-1", "a-1"),
        ("9f5c1a52:1", "9f5c1a52:1"),
        (17, "17"),
        ("", None),
        (".", None),
        ("..", None),
        ("a b", None),
        ("a\r\nX: y", None),
        ("é", None),
        ("x" * 129, None),
        (True, None),
        (1.5, None),
        (None, None),
        ([], None),
        (10**50, None),
    ],
)
def test_an_id_is_usable_or_none(value: Any, usable: str | None) -> None:
    assert answers.usable_id(value) == usable


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("+14155550123", "14155550123", True),
        ("+14155550123", "+1 (415) 555-0123", True),
        ("+14155550123", "4155550123", True),
        ("+14155550123", 14155550123, True),
        ("+886912345678", "0912345678", True),
        ("+14155550123", "914155550123", True),
        ("+14155550123", "14155550124", False),
        ("+14155550123", "5550123", False),
        ("+14155550123", "234", False),
        ("+14155550123", "", False),
        ("+14155550123", None, False),
        ("+14155550123", True, False),
        ("+14155550123", ["14155550123"], False),
    ],
)
def test_two_numbers_are_one_or_not(ours: str, theirs: Any, same: bool) -> None:
    assert answers.same_number(ours, theirs) is same


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-18 11:06:40", AT),
        ("2026-11-18T11:06:40Z", AT),
        ("2026-11-18T03:06:40-08:00", AT),
        ("2026-11-18T11:06:40.000+00:00", AT),
        (1_795_000_000, AT),
        ("1.795e+09", AT),
        (1_795_000_000_000, AT),
        ("0000-00-00T00:00:00+00:00", None),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (0, None),
        (None, None),
        (True, None),
        ("yesterday", None),
        ("9999-12-31T23:59:59-14:00", None),
    ],
)
def test_an_instant_is_read_in_every_form_seen(value: Any, seconds: float | None) -> None:
    assert answers.instant(value) == seconds


def test_an_instant_without_a_zone_is_in_the_one_given() -> None:
    assert answers.instant("2026-11-18 14:06:40", ZoneInfo("Europe/Istanbul")) == AT
    assert answers.instant("2026-11-18T11:06:40Z", timezone(timedelta(hours=3))) == AT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (45, 45),
        ("45", 45),
        (45.9, 45),
        ("4.5e+01", 45),
        ("00:00:45", 45),
        ("1:01:01", 3661),
        (0, 0),
        ("00:00:00", 0),
        *[(nothing, None) for nothing in NO_SECONDS],
    ],
)
def test_whole_seconds(value: Any, seconds: int | None) -> None:
    assert answers.whole_seconds(value) == seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        ("Wed, 18 Nov 2026 11:07:40 GMT", 60.0),
        ("Wed, 18 Nov 2026 11:00:00 GMT", 0.0),
        ("-5", 0.0),
        ("99999999", 86_400.0),
        ("soon", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    assert answers.retry_after({"retry-after": said}, AT) == seconds
    assert answers.retry_after({}, AT) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"\x00"])
def test_what_is_no_json_is_unreadable(body: bytes) -> None:
    assert answers.read_json(body) is answers.UNREADABLE
    assert answers.read_object(body) is None


def test_json_that_is_no_object_is_no_object() -> None:
    assert answers.read_json(b"null") is None
    for body in (b"null", b"[]", b"1", b'"x"', b"true"):
        assert answers.read_object(body) is None
    assert answers.read_object(b'{"a": 1}') == {"a": 1}


def test_nothing_raises_for_any_value() -> None:
    @fuzzed
    @given(scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=2), scalars, max_size=2))
    def survives(value: Any) -> None:
        answers.word(value).encode()
        answers.same_number("+14155550123", value)
        answers.instant(value, UTC)
        for read in (answers.usable_id, answers.whole_seconds, answers.number, answers.instant, answers.dialled):
            read(value)

    survives()
