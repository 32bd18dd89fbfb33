"""Faults on demand: which rule strikes which request. Pure; ``now`` is an argument, chance comes from the seed.

Three families, told apart because they combine: a *refusal* answers without placing the call, a *spoiled answer* places
it and spoils the answer, a *whim* changes what becomes of the call. A request meets at most one refusal or spoiled
answer (the first rule that strikes), and every whim that strikes.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from campaign.domain.dispositions import Disposition
from campaign.domain.durations import Duration
from campaign.domain.line import Words
from campaign.providers.simulator.calls import NO_WHIMS, Whims
from campaign.providers.simulator.outcomes import uniforms


class Place(StrEnum):
    """What a request asks for."""

    ORIGINATE = "originate"
    RESULTS = "results"
    LIST = "list"
    CANCEL = "cancel"
    CHECK = "check"
    OTHER = "other"


REFUSALS = frozenset({"reset", "hang", "conflict", "invalid_number"})
SPOILED = frozenset(
    {"slow", "drip", "giant", "reset_after", "hang_after", "cut_after", "garbage", "html", "empty", "no_id"}
)
WHIMS = frozenset(
    {
        "late",
        "queued",
        "results_late",
        "swallow",
        "list_lag",
        "outcome",
        "webhook_twice",
        "webhook_shuffled",
        "webhook_lost",
    }
)
READS = frozenset({"page_loss", "foreign"})
NAMED = REFUSALS | SPOILED | WHIMS | READS
STATUS = re.compile(r"([3-5]\d\d)(_after)?")

DEFAULT_SECONDS = {"slow": 2.0, "drip": 0.05, "late": 30.0, "queued": 300.0, "results_late": 30.0, "list_lag": 30.0}
LEAST_HANG = 3600.0


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in value.split("/") if part)
    return (value,) if isinstance(value, int) else value


Many = BeforeValidator(_as_tuple)


class FaultRule(Words):
    """One rule. ``kind`` says what happens; the rest says to whom and for how long.

    ``numbers`` are ``+`` and digits, a ``*`` at the end matches any rest; ``nth`` counts the originate requests for
    one number from 1; ``times`` is how often the rule may strike; ``starts_after`` and ``lasts`` count from when the
    rule was added. ``seconds`` is how long (slow, hang, late, results_late, list_lag), how long at most (queued) or the
    pause between two bytes (drip). ``late`` makes a call that is placed behind a spoiled answer ring that much later.
    ``fraction`` is the share of a list that page_loss drops. ``size`` is the bytes of a giant body.
    """

    kind: str
    probability: float = Field(default=1.0, ge=0, le=1)
    on: Literal["originate", "results", "list", "cancel", "check", "all"] | None = None
    dialect: str | None = None
    account: str | None = None
    numbers: Annotated[tuple[str, ...], Many] = ()
    nth: Annotated[tuple[int, ...], Many] = ()
    times: int | None = Field(default=None, ge=1)
    starts_after: Duration = 0.0
    lasts: Duration | None = None
    seconds: Duration | None = None
    retry_after: Duration | None = None
    retry_after_as: Literal["seconds", "date"] = "seconds"
    late: Duration = 0.0
    size: int = Field(default=2 * 1024 * 1024, ge=1, le=1024**3)
    fraction: float = Field(default=1.0, gt=0, le=1)
    outcome: Disposition | None = None
    message: str = ""
    location: str = Field(default="/elsewhere", pattern=r"^[\x21-\x7e]+$")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return parse_fault(value) if isinstance(value, str) else value

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        kind = kind.removesuffix("_before")
        if kind in NAMED or STATUS.fullmatch(kind):
            return kind
        raise ValueError(
            f"there is no fault {kind!r}; use a status (429, 500_after) or one of {', '.join(sorted(NAMED))}"
        )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "outcome" and self.outcome is None:
            raise ValueError("the fault `outcome` needs outcome=DISPOSITION")
        if self.kind in WHIMS and self.on not in (None, "originate"):
            raise ValueError(f"the fault `{self.kind}` strikes calls: leave `on` out")
        return self

    @property
    def status(self) -> int | None:
        found = STATUS.fullmatch(self.kind)
        return int(found[1]) if found else None

    @property
    def places_first(self) -> bool:
        """True where the call is placed before its answer is spoiled."""
        return self.kind in SPOILED or self.kind.endswith("_after")

    @property
    def span(self) -> float:
        """``seconds``, or what the kind takes by itself."""
        return DEFAULT_SECONDS.get(self.kind, LEAST_HANG) if self.seconds is None else self.seconds

    def strikes_at(self, place: Place) -> bool:
        """Refusals and spoiled answers hit originate requests unless told otherwise; a refused key hits all."""
        if self.kind in READS:
            return place in (Place.RESULTS, Place.LIST) if self.on in (None, "all") else self.on == place.value
        if self.on is None:
            return self.status in (401, 403) or place is Place.ORIGINATE
        return self.on == "all" or self.on == place.value

    def names(self, number: str) -> bool:
        return not self.numbers or any(
            number.startswith(name[:-1]) if name.endswith("*") else number == name for name in self.numbers
        )


def parse_fault(text: str) -> dict[str, Any]:
    """``KIND[:PROBABILITY][,key=value…]``, for example ``429:0.05,retry_after=2s``. Lists use ``/``: ``nth=1/3``."""
    head, *rest = (part.strip() for part in text.split(","))
    kind, colon, probability = head.partition(":")
    words: dict[str, Any] = {"kind": kind.strip()}
    if colon:
        words["probability"] = probability.strip()
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"write a fault like 429:0.05,retry_after=2s; {part!r} is not key=value")
        words[key.strip()] = value.strip()
    return words


@dataclass(slots=True)
class ActiveRule:
    id: str
    rule: FaultRule
    added_at: float
    struck: int = 0

    def awake(self, now: float) -> bool:
        age = now - self.added_at - self.rule.starts_after
        worn = self.rule.times is not None and self.struck >= self.rule.times
        return age >= 0 and not worn and (self.rule.lasts is None or age < self.rule.lasts)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may look at. ``nth`` counts the requests for ``number``; ``serial`` counts all requests."""

    place: Place
    dialect: str
    account: str
    number: str = ""
    nth: int = 0
    serial: int = 0


class FaultBook:
    """The rules in force, in the order in which they were added."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rules: list[ActiveRule] = []
        self._ids = count(1)

    def add(self, rule: FaultRule, now: float) -> str:
        """The id by which the rule can be removed."""
        entry = ActiveRule(f"f{next(self._ids)}", rule, now)
        self.rules.append(entry)
        return entry.id

    def remove(self, rule_id: str) -> bool:
        before = len(self.rules)
        self.rules = [entry for entry in self.rules if entry.id != rule_id]
        return len(self.rules) < before

    def clear(self) -> None:
        self.rules = []

    def strike(self, facts: Facts, now: float) -> FaultRule | None:
        """The refusal, spoiled answer or list fault that this request meets, if any."""
        for entry in self.rules:
            if entry.rule.kind not in WHIMS and self._strikes(entry, facts, now):
                entry.struck += 1
                return entry.rule
        return None

    def whims(self, facts: Facts, now: float) -> Whims:
        """Everything that the rules do to the call itself."""
        changed: dict[str, Any] = {}
        for entry in self.rules:
            if entry.rule.kind in WHIMS and self._strikes(entry, facts, now):
                entry.struck += 1
                changed |= _whim(entry.rule, self._share(entry, facts))
        return Whims(**changed) if changed else NO_WHIMS

    def _strikes(self, entry: ActiveRule, facts: Facts, now: float) -> bool:
        rule = entry.rule
        return (
            rule.strikes_at(facts.place)
            and entry.awake(now)
            and rule.dialect in (None, facts.dialect)
            and rule.account in (None, facts.account)
            and rule.names(facts.number)
            and (not rule.nth or facts.nth in rule.nth)
            and (rule.probability >= 1 or self._chance(entry, facts) < rule.probability)
        )

    def _chance(self, entry: ActiveRule, facts: Facts) -> float:
        if facts.number:
            return uniforms(self.seed, entry.id, facts.number, facts.nth)[0]
        return uniforms(self.seed, entry.id, facts.place, facts.serial)[0]

    def _share(self, entry: ActiveRule, facts: Facts) -> float:
        return uniforms(self.seed, entry.id, facts.number, facts.nth)[1]


def _whim(rule: FaultRule, share: float) -> dict[str, Any]:
    match rule.kind:
        case "queued":
            return {"queued": rule.span * share}
        case "late":
            return {"late": rule.span}
        case "results_late":
            return {"result_lag": rule.span}
        case "list_lag":
            return {"list_lag": rule.span}
        case "outcome":
            return {"outcome": rule.outcome}
        case "swallow":
            return {"swallowed": True}
        case _:
            return {rule.kind: True}
