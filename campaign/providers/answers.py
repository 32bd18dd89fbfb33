"""Reading what a provider sent, whatever it sent. Pure; nothing here raises for any input.

Shared by the provider files, which decide what the pieces mean.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime

from campaign.domain.calls import CallReport, Finding, FindingKind, RememberedCall, ReportStatus
from campaign.domain.verdicts import PauseFault, Verdict, not_sent, pause, throttled, unconfirmed
from campaign.providers.port import Fault, Reply

WORD_LIMIT = 120
RETRY_AFTER_LIMIT = 86_400.0  # a provider that says "next year" is asked again tomorrow

_PLAIN = re.compile(r"[A-Za-z_]{1,15}")
_NO_DIGITS = re.compile(r"[^0-9]+")
_DIGIT_RUN = re.compile(r"\+?\d(?:[\s().-]{0,2}\d){6,}")
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{16,}")
_USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_CLOCK = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})(?:\.\d+)?")


class Unreadable:
    """The body was not JSON at all; told apart from a JSON null."""


UNREADABLE = Unreadable()


def read_json(body: bytes) -> object:
    """The JSON value, or UNREADABLE for anything else: HTML, half a body, too deep, a number too long."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return UNREADABLE


def read_object(body: bytes) -> dict[str, object] | None:
    """The JSON object, or None for everything that is not one."""
    value = read_json(body)
    return value if isinstance(value, dict) else None


def word(value: object) -> str:
    """A provider's word, safe to keep and show: one short line, numbers and long tokens masked. "" for no scalar."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):  # nearly every one: nothing in it to mask
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)[:2000]).split())
    line = _DIGIT_RUN.sub("[number]", line)
    return _TOKEN.sub(lambda found: found[0] if _is_words(found[0]) else "[hidden]", line)[:WORD_LIMIT]


def _is_words(token: str) -> bool:
    return sum(sign.isdigit() for sign in token) < 3


def usable_id(value: object) -> str | None:
    """An id that can be kept and put into a path: 1 to 128 visible ASCII signs, or a whole number; else None."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value) if isinstance(value, str) or abs(value) < 10**40 else ""
    return text if _USABLE_ID.fullmatch(text) and text.strip(".") else None


def digits(phone: str) -> str:
    """``+1 (415) 555-0123`` → ``14155550123``."""
    return _NO_DIGITS.sub("", phone)


def dialled(value: object) -> str | None:
    """``+`` and the digits of what may be a whole number; None for an extension (under 8 digits) or anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    found = digits(str(value)) if isinstance(value, str) or abs(value) < 10**15 else ""
    return f"+{found}" if 8 <= len(found) <= 15 else None


def same_number(ours: str, theirs: object) -> bool:
    """True where both are one number, with or without ``+``, country code or trunk zero: 8 digits must agree."""
    if isinstance(theirs, bool) or not isinstance(theirs, (str, int)):
        return False
    mine, other = digits(ours), digits(str(theirs)) if not isinstance(theirs, int) or abs(theirs) < 10**40 else ""
    other = other.lstrip("0")
    shorter, longer = sorted((mine, other), key=len)
    return len(shorter) >= 8 and longer.endswith(shorter)


def whole_seconds(value: object) -> int | None:
    """Seconds from ``45``, ``"45"``, ``4.5e1``, ``"00:00:45"``; None for anything else or a negative figure."""
    if isinstance(value, str) and (found := _CLOCK.fullmatch(value.strip())):
        hours, minutes, seconds = (int(part[:9]) for part in found.groups())
        figure: float | None = float(hours * 3600 + minutes * 60 + seconds)
    else:
        figure = number(value)
    return int(figure) if figure is not None and 0 <= figure < 10**9 else None


def number(value: object) -> float | None:
    """A finite float from a JSON number or from text that is one (``"1.76e+09"``), else None."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        figure = float(value)
    except (ValueError, OverflowError):
        return None
    return figure if math.isfinite(figure) else None


def instant(value: object, zone: tzinfo = UTC) -> float | None:
    """Epoch seconds from a date and time as text; ``zone`` is used where the text names none.

    None for what is unset (empty, ``0000-00-00…``) or unreadable. A figure is taken as epoch seconds, or milliseconds
    where it is too large for that.
    """
    figure = number(value)
    if figure is not None:
        return _plausible(figure / 1000 if figure > 1e11 else figure)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return _plausible((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def _plausible(seconds: float) -> float | None:
    """Between 1973 and 5138; anything else is a duration, a placeholder or nonsense."""
    return seconds if 1e8 < seconds < 1e11 else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait from ``Retry-After`` (seconds or an HTTP date), at most a day; None where not said."""
    value = headers.get("retry-after", "").strip()
    seconds = number(value)
    if seconds is None and value:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError, OSError):
            return None
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_LIMIT)


def fault_verdict(fault: Fault) -> Verdict:
    """The verdict on an originate request without a whole answer."""
    return unconfirmed(fault.reason) if fault.sent else not_sent(fault.reason)


def status_verdict(reply: Reply, now: float, message: str = "") -> Verdict:
    """The verdict on an originate answer that the provider's own table does not name. Never for a 2xx it can read.

    3xx is a wrong base URL, 401 and 403 the key, 402 the credit, 429 and a 503 that says when to come back were refused
    before processing, other 4xx is a request that we build wrongly, and everything else may have placed the call.
    """
    status, said = reply.status, f": {message}" if message else ""
    raw = f"{status}{said}"
    wait = retry_after(reply.headers, now)
    if 300 <= status < 400:
        return pause(PauseFault.CONFIG, f"the provider redirects (HTTP {status}); correct base_url of the line", raw)
    if status in (401, 403):
        return pause(PauseFault.AUTH, f"the provider refused the key (HTTP {status}{said})", raw)
    if status == 402:
        return pause(PauseFault.CREDIT, f"the account has no credit (HTTP {status}{said})", raw)
    if status == 429 or (status == 503 and wait is not None):
        return throttled(f"the provider asks to slow down (HTTP {status})", wait, raw)
    if 400 <= status < 500:
        return pause(PauseFault.CONFIG, f"the provider refused the request (HTTP {status}{said})", raw)
    return unconfirmed(f"the answer does not say whether the call was placed (HTTP {status})", raw)


def unreachable(call: RememberedCall, reason: str, raw: str = "") -> CallReport:
    """The report on a call whose question could not be asked, or whose answer could not be read."""
    return CallReport(
        ReportStatus.UNREACHABLE, call.attempt_id, call_id=call.call_id, our_ref=call.our_ref, raw=raw, reason=reason
    )


def pending(call: RememberedCall, raw: str, reason: str) -> CallReport:
    """The report on a call that the provider knows and that has not ended, or not tellingly."""
    return CallReport(
        ReportStatus.PENDING, call.attempt_id, call_id=call.call_id, our_ref=call.our_ref, raw=raw, reason=reason
    )


def nothing_found(kind: FindingKind, as_of: float, reason: str) -> Finding:
    """A look that did not find the call."""
    return Finding(kind, as_of, reason=reason)
