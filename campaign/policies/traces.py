"""Finding one phone number in whatever text, as people and providers write it, and taking it out. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from phonenumbers import NumberParseException, national_significant_number, parse

TAKEN_OUT = "[erased]"
_NOT_DIGIT = re.compile(r"\D+")
_BETWEEN = r"[\s().\-/]{0,3}"
_LEAST = 7
"""Digits of a national number below which it is only looked for with its country code: it would be found in dates."""

_SHORTEST = 6
"""Digits of the shortest number that can be asked for, its country code included."""

_PIECE = re.compile(r"\+?\(?\d[\d\s().\-/]{4,24}\d")


def digits(text: str) -> str:
    """Nothing but the digits of it, as :meth:`Trace.may_be_in` asks for them."""
    return _NOT_DIGIT.sub("", text)


def pieces(text: str) -> Iterator[str]:
    """What may be a phone number in a text, as it is written there."""
    yield from _PIECE.findall(text)


@dataclass(frozen=True)
class Trace:
    """One E.164 number to look for, with ``+``."""

    phone: str = field(repr=False)

    @cached_property
    def needle(self) -> str:
        """The digits that every spelling holds: without country code, unless that leaves too few."""
        try:
            national = national_significant_number(parse(self.phone))
        except NumberParseException:
            national = ""
        return national if len(national) >= _LEAST else self.phone[1:]

    @cached_property
    def _spelling(self) -> re.Pattern[str]:
        code = self.phone[1:].removesuffix(self.needle)
        front = rf"(?:(?:\+|00)?{_spaced(code)}{_BETWEEN}(?:\(?0\)?{_BETWEEN})?)" if code else r"\+"
        national = rf"(?<!\d){front}?0?{_spaced(self.needle)}(?!\d)"
        return re.compile(rf"{national}|\+?{self.phone[1:]}")  # whole, also inside of longer rows of digits

    def may_be_in(self, squeezed: str) -> bool:
        """A quick look; ``squeezed`` is :func:`digits` of the text."""
        return self.needle in squeezed

    def is_in(self, text: str) -> bool:
        return self._spelling.search(text) is not None

    def taken_out(self, text: str) -> str:
        return self._spelling.sub(TAKEN_OUT, text)


def _spaced(figures: str) -> str:
    return _BETWEEN.join(figures)


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys as well."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts(one)
    elif value is not None:
        yield str(value)


def found_in(traces: Iterable[Trace], value: Any) -> list[Trace]:
    """Those that stand somewhere in a JSON value."""
    squeezed = [(text, digits(text)) for text in texts(value)]
    worth = [(text, quick) for text, quick in squeezed if len(quick) >= _SHORTEST]
    if not worth:
        return []
    return [trace for trace in traces if any(trace.may_be_in(quick) and trace.is_in(text) for text, quick in worth)]


def without(traces: Iterable[Trace], value: Any) -> Any:
    """The same JSON value with these numbers taken out of its texts, and out of its whole figures."""
    for trace in traces:
        value = _without(trace, value)
    return value


def _without(trace: Trace, value: Any) -> Any:
    if isinstance(value, dict):
        return {_without(trace, key): _without(trace, one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without(trace, one) for one in value]
    if isinstance(value, str):
        return trace.taken_out(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and trace.is_in(str(value)):
        return TAKEN_OUT
    return value
