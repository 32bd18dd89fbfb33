"""Rows of a newer version of this program, which runs beside this one during a deploy. What this version cannot read it
leaves alone: it dials nobody by it and changes nothing of it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Row

from campaign.domain.plan import Plan
from campaign.domain.rows import LineHealth
from campaign.domain.states import LineState

log = logging.getLogger(__name__)

Read = TypeVar("Read")
Word = TypeVar("Word", bound=StrEnum)


def readable(rows: Sequence[Row], read: Callable[[Row], Read]) -> list[Read]:  # type: ignore[type-arg]
    """What ``read`` makes of the rows that hold no word from the future; their number is small, their time is short."""
    try:
        return [read(row) for row in rows]
    except ValueError:
        return [value for row in rows for value in _tried(row, read)]


def _tried(row: Row, read: Callable[[Row], Read]) -> list[Read]:  # type: ignore[type-arg]
    try:
        return [read(row)]
    except ValueError:
        log.warning("row %s holds a word that this version does not know; it is left to the newer one", row[0])
        return []


class _Words(dict[str, Word]):
    def __missing__(self, text: str) -> Word:
        raise ValueError(f"{text!r} is a word that this version does not know")


def words_of(vocabulary: type[Word]) -> Mapping[str, Word]:
    """By their texts: a small part of the time that calling the enumeration takes. Raises ValueError like that."""
    return _Words({word.value: word for word in vocabulary})


def plan_for_dialling(campaign_id: int, document: Mapping[str, Any]) -> Plan | None:
    """None where a newer version has written what this one cannot keep to."""
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        log.warning("campaign %d is not dialled by this version: its plan says %s", campaign_id, _places(error))
        return None


def plan_for_recording(document: Mapping[str, Any]) -> Plan:
    """The plan as far as this version knows it: how a call ended must be written down by whoever made the call."""
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        known = dict(document)
        for fault in error.errors(include_url=False, include_input=False):
            _leave_out(known, [str(key) for key in fault["loc"]])
        return Plan.model_validate(known)


def _leave_out(document: dict[str, Any], place: list[str]) -> None:
    if place[0] == "retry" and len(place) > 1 and isinstance(document.get("retry"), dict):
        document["retry"] = {word: rule for word, rule in document["retry"].items() if word != place[1]}
    else:
        document.pop(place[0], None)


def _places(error: ValidationError) -> str:
    return ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_url=False, include_input=False))


def state_of_line(word: str) -> LineState | None:
    """None for a state that a newer version has given the line."""
    return next((state for state in LineState if state == word), None)


CLOSED = LineHealth(state=LineState.SILENT, why="in a state of a newer version", not_before=inf)
"""How a line in such a state looks to this version."""
