"""What the workers' log must never say, and the two forms in which it says the rest."""

import io
import json
import logging

import pytest

from workers.logs import JsonLines, Redact, never_show, redacted


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("calling +1 202-555-0143 now", "calling +1******43 now"),
        ("calling 12025550143 now", "calling 12******43 now"),
        ("Authorization: Bearer", "Authorization=***"),
        ("api_key=abc", "api_key=***"),
        ("took 0.123456789012 s in process 4711", "took 0.123456789012 s in process 4711"),
        ("at 2026-11-20T23:32:40", "at 2026-11-20T23:32:40"),
    ],
)
def test_what_looks_like_a_secret_or_a_number_is_masked(said: str, shown: str) -> None:
    assert redacted(said) == shown


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    never_show(["canary-key-7f3a"])
    assert redacted("GET /x?whatever=canary-key-7f3a") == "GET /x?whatever=***"


def test_json_lines_are_redacted_with_their_exceptions() -> None:
    # Given a logger as set_up() makes one
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    handler.addFilter(Redact())
    logger = logging.getLogger("tests.redaction")
    logger.propagate = False
    logger.addHandler(handler)
    # When an exception that names a number is logged
    try:
        raise ValueError("bad number +12025550143")
    except ValueError:
        logger.exception("call %s failed", "+12025550143")
    # Then it is one object on one line, and the number is in none of its fields
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["message"] == "call +1******43 failed"
    assert "5550143" not in line
    assert "ValueError" in json.loads(line)["error"]
