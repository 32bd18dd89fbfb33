"""The time zones a number may be in, by its digits; several where the digits cannot tell, none where nothing is known.

Numbers are ported and mobiles travel: every zone of the longest prefix *and*, in North America, of the whole area code
counts, and a call is allowed only when all of them are open.
"""

from functools import lru_cache

from phonenumbers import timezone as phone_zones

_UNKNOWN = "Etc/Unknown"
_DIGITS_THAT_DECIDE = 11


def zones_of(phone: str) -> tuple[str, ...]:
    """IANA names for an E.164 number, sorted; () where the prefix is unknown."""
    return _zones_of_prefix(phone[: _DIGITS_THAT_DECIDE + 1], len(phone))


@lru_cache(maxsize=50_000)
def _zones_of_prefix(prefix: str, _length: int) -> tuple[str, ...]:
    digits = prefix.lstrip("+")
    found = set(_lookup(digits))
    if digits.startswith("1") and len(digits) >= 4:
        found |= set(_lookup(digits[:4]))
    found.discard(_UNKNOWN)
    return tuple(sorted(found))


def _lookup(digits: str) -> tuple[str, ...]:
    """Longest known prefix of the country code and what follows it."""
    data = phone_zones.TIMEZONE_DATA  # type: ignore[attr-defined]  # loaded lazily, no stub
    longest: int = phone_zones.TIMEZONE_LONGEST_PREFIX  # type: ignore[attr-defined]
    for length in range(min(len(digits), longest), 0, -1):
        found = data.get(digits[:length])
        if found:
            return tuple(found)
    return ()
