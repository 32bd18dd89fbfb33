"""Answers that no documentation describes: a fixed list, any JSON, and recorded answers with one part changed."""

import string
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from campaign.providers.port import Reply
from tests.providers.recorded import reply

JUNK: dict[str, Reply] = {
    "empty": reply(200, body=b""),
    "html": reply(200, body="<!doctype html><title>Welcome to the airport</title>", content_type="text/html"),
    "null": reply(200, None),
    "list": reply(200, []),
    "list of junk": reply(200, [None, 7, "x", [], {}]),
    "number": reply(200, 42),
    "string": reply(200, "ok"),
    "true": reply(200, True),
    "empty object": reply(200, {}),
    "null data": reply(200, {"message": "Success.", "data": None, "id": None, "success": None, "status": None}),
    "nested": reply(200, {"data": {"data": {"data": [[{"id": {"id": []}}]]}}, "success": {"success": True}}),
    "half": reply(200, body=b'{"message":"Success.","data":{"id"'),
    "not utf-8": reply(200, body=b"\xff\xfe\x00\x81{}"),
    "too deep": reply(200, body=b"[" * 100_000),
    "endless number": reply(200, body=b"9" * 6000),
}
"""Whole answers with status 200 that no documentation describes."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.integers(10**30, 10**45)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=12)
    | st.sampled_from(["", "0", "-1", "0000-00-00 00:00:00", "9999-12-31T23:59:59+14:00", "\ud800", "..", "a/b"])
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters, max_size=6), inner),
)


def fuzzed(test: Any) -> Any:
    """Settings for a property that many classes run: quick, and the same on a slow machine."""
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(max_examples=60, deadline=None, database=None, suppress_health_check=quiet)(test)


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """``value`` with one part, anywhere in it, replaced by any JSON or left out."""
    kinds: list[st.SearchStrategy[Any]] = [json_values]
    if isinstance(value, dict) and value:
        kinds += [mutated(part).map(partial(_with, value, key)) for key, part in value.items()]
        kinds += [st.sampled_from(sorted(value)).map(lambda key: {k: v for k, v in value.items() if k != key})]
    elif isinstance(value, list) and value:
        kinds += [mutated(value[0]).map(lambda new: [new, *value[1:]])]
    return st.one_of(kinds)


def _with(value: dict[str, Any], key: str, part: Any) -> dict[str, Any]:
    return {**value, key: part}
