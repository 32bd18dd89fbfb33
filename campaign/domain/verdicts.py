"""What a provider's answer to an originate request means. A verdict is a value; nothing here raises."""

from dataclasses import dataclass
from enum import StrEnum


class VerdictKind(StrEnum):
    PLACED = "placed"  # accepted; `call_id` is the provider's id where it gives one
    CONFLICT = "conflict"  # a call for this number is already queued or active at the provider
    THROTTLED = "throttled"  # refused before processing because of pace; `retry_after` in seconds if said
    REFUSED_CALL = "refused_call"  # this call failed; an attempt that ended `error`
    BAD_NUMBER = "bad_number"  # the provider says that the number does not exist
    LINE_NOT_READY = "line_not_ready"  # agent or extension not registered; the target pays nothing
    PAUSE = "pause"  # key, configuration or credit: no target pays, the campaign pauses; see `fault`
    NOT_SENT = "not_sent"  # proved: not one byte of the request reached the provider
    UNCONFIRMED = "unconfirmed"  # the call may have been placed; settle must look


class PauseFault(StrEnum):
    AUTH = "auth"
    CONFIG = "config"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer, translated.

    ``reason`` is one short sentence for an operator, free of secrets and phone numbers. ``raw`` is the provider's own
    word or status (``"409"``, ``"setup failed"``). ``retry_after`` is in seconds from now.
    """

    kind: VerdictKind
    reason: str = ""
    call_id: str | None = None
    raw: str = ""
    retry_after: float | None = None
    fault: PauseFault | None = None


def placed(call_id: str | None, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.PLACED, call_id=call_id, raw=raw)


def conflict(reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.CONFLICT, reason, raw=raw)


def throttled(reason: str, retry_after: float | None = None, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.THROTTLED, reason, raw=raw, retry_after=retry_after)


def refused_call(reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.REFUSED_CALL, reason, raw=raw)


def bad_number(reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.BAD_NUMBER, reason, raw=raw)


def line_not_ready(reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.LINE_NOT_READY, reason, raw=raw)


def pause(fault: PauseFault, reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.PAUSE, reason, raw=raw, fault=fault)


def not_sent(reason: str) -> Verdict:
    return Verdict(VerdictKind.NOT_SENT, reason)


def unconfirmed(reason: str, raw: str = "") -> Verdict:
    return Verdict(VerdictKind.UNCONFIRMED, reason, raw=raw)
