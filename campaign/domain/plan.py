"""A plan: how a campaign may dial. Every key of ``plan.toml``; unknown keys are refused by name."""

from datetime import date, time
from enum import StrEnum
from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from campaign.domain.dispositions import NEVER_RETRIED, Disposition
from campaign.domain.durations import Duration
from campaign.domain.line import Words

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


class OnUnknown(StrEnum):
    """What becomes of a target whose attempt ended ``unknown``."""

    HOLD = "hold"  # a person decides, with `campaign settle`
    RETRY = "retry"  # the operator signs that a second ring is acceptable; the rule for `error` gives the delay
    DONE = "done"  # finished, with disposition `unknown`


class Window(Words):
    """Open from ``opens`` to ``closes`` (exclusive), wall clock of the zone, on ``days``."""

    days: tuple[Day, ...] = DAYS
    opens: time = Field(alias="from")
    closes: time = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.closes <= self.opens:
            raise ValueError("`to` must be later than `from`; write a window over midnight as two windows")
        return self


class Hours(Words):
    """``zone`` is ``target`` (every zone the number may be in must be open) or an IANA name."""

    zone: str = "target"
    windows: tuple[Window, ...] = ()
    holidays: tuple[date, ...] = ()
    blackout: tuple[date, ...] = ()
    pack: str | None = None

    @field_validator("pack")
    @classmethod
    def _no_packs_yet(cls, value: str | None) -> str | None:
        if value is not None:
            raise ValueError("jurisdiction packs are not available yet; write the windows yourself")
        return value


class Pace(Words):
    """Limits of the campaign itself, beside those of its line."""

    calls_per_second: float | None = Field(default=None, gt=0)
    max_in_flight: int | None = Field(default=None, ge=1)
    weight: float = Field(default=1.0, gt=0)


class Caps(Words):
    """At most ``per_day`` real attempts to one number in any 24 hours, over all campaigns."""

    per_day: int | None = Field(default=None, ge=1)


def _as_list(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


Delays = Annotated[tuple[Duration, ...], BeforeValidator(_as_list)]


def _default_retry() -> dict[Disposition, tuple[float, ...]]:
    return {
        Disposition.NO_ANSWER: (900.0, 3600.0, 14400.0),
        Disposition.BUSY: (300.0, 900.0),
        Disposition.UNAVAILABLE: (900.0,),
        Disposition.ERROR: (600.0,),
    }


class Plan(Words):
    """``max_attempts`` caps real attempts per target; ``retry`` maps a disposition to its delays, one per retry."""

    max_attempts: int = Field(default=4, ge=1, le=100)
    retry: dict[Disposition, Delays] = Field(default_factory=_default_retry)
    hours: Hours | None = None
    pace: Pace = Pace()
    caps: Caps = Caps()
    conflict_interval: Duration = Field(default=120.0, gt=0)
    max_conflicts: int = Field(default=50, ge=1)
    on_unknown: OnUnknown = OnUnknown.HOLD

    @field_validator("retry")
    @classmethod
    def _sensible(cls, rules: dict[Disposition, tuple[float, ...]]) -> dict[Disposition, tuple[float, ...]]:
        for disposition in rules:
            if disposition in NEVER_RETRIED:
                raise ValueError(f"{disposition} is final and takes no retry rule")
            if disposition is Disposition.UNKNOWN:
                raise ValueError("unknown takes no retry rule; say `on_unknown` instead")
        return rules
