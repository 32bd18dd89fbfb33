"""One cell to one E.164 number, or the reason why not. Never raises."""

import re
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult
from phonenumbers import shortnumberinfo as short

from campaign.intake import faults
from campaign.intake.faults import Fault

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SCHEME = re.compile(r"(?:tel|callto|phone)\s*:\s*", re.IGNORECASE)
_SCIENTIFIC = re.compile(r"\+?\d+(?:[.,]\d+)?[eE][+-]?\d+")
_FLOAT = re.compile(r"(\+?\d{7,15})\.0")  # data frames write a whole number so; nothing is lost
_BETWEEN = re.compile(r"[/,;|\r\n]|\bor\b|&")
_EMERGENCY_ANYWHERE = frozenset({"112", "911", "999"})
_NETWORKS = frozenset({870, 881, 882, 883})

_REFUSED_TYPES = {
    PhoneNumberType.PREMIUM_RATE: faults.PREMIUM,
    PhoneNumberType.SHARED_COST: faults.SHARED_COST,
}


def read_number(cell: str, region: str | None) -> str | Fault:
    """E.164 with ``+``, or a :class:`Fault`. ``region`` is for numbers without a country code.

    Takes what people write: spaces, dashes, parentheses, ``(0)``, ``tel:``, ``00`` for ``+``, a leading ``'``,
    full-width digits, invisible marks that address books leave behind.
    """
    text = _tidied(cell)
    if not text:
        return faults.EMPTY
    return _refused_by_looks(text, region) or _parsed(text, region)


def _tidied(cell: str) -> str:
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", cell)) if not cell.isascii() else cell
    text = _SCHEME.sub("", text.strip().lstrip("'").strip(), count=1)
    whole = _FLOAT.fullmatch(text)
    return whole.group(1) if whole else text


def _refused_by_looks(text: str, region: str | None) -> Fault | None:
    if _SCIENTIFIC.fullmatch(text):
        return faults.SCIENTIFIC
    if len(text) <= 10 and (fault := _short(text, region)):
        return fault
    if _BETWEEN.search(text) and sum(_digits(part) >= 7 for part in _BETWEEN.split(text)) > 1:
        return faults.SEVERAL
    return None


def _digits(text: str) -> int:
    return sum(character.isdigit() for character in text)


def _short(text: str, region: str | None) -> Fault | None:
    digits = "".join(character for character in text if character.isdecimal())
    if not 2 <= len(digits) <= 6 or text.startswith("+"):
        return None
    if digits in _EMERGENCY_ANYWHERE or (region and short.is_emergency_number(digits, region)):
        return faults.EMERGENCY
    number = PhoneNumber(country_code=phonenumbers.country_code_for_region(region or ""), national_number=int(digits))
    return faults.SHORT if region and short.is_valid_short_number_for_region(number, region) else None


def _parsed(text: str, region: str | None) -> str | Fault:
    answer = _with_prefix(text, region)
    if isinstance(answer, Fault) and text.startswith("00"):
        with_plus = _with_prefix("+" + text[2:], None)  # people write 00 for + where the exit code is another one
        return with_plus if isinstance(with_plus, str) or region is None else answer
    return answer


def _with_prefix(text: str, region: str | None) -> str | Fault:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException as error:
        return _unparsed(error, text, region)
    if number.extension:
        return faults.EXTENSION
    if any(character.isalpha() for character in text):
        return faults.LETTERS
    return _judged(number)


def _unparsed(error: NumberParseException, text: str, region: str | None) -> Fault:
    if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
        return faults.UNKNOWN_COUNTRY if "+" in text else faults.NO_COUNTRY
    if error.error_type == NumberParseException.TOO_LONG:
        return faults.too_long(region or "any country")
    if error.error_type == NumberParseException.NOT_A_NUMBER:
        return faults.NOT_A_NUMBER
    return faults.too_short(region if region and not text.startswith("+") else "any country")


def _judged(number: PhoneNumber) -> str | Fault:
    kind = phonenumbers.number_type(number)
    if kind == PhoneNumberType.UNKNOWN:
        return _invalid(number)
    if kind in _REFUSED_TYPES:
        return _REFUSED_TYPES[kind]
    if number.country_code in _NETWORKS:
        return faults.SATELLITE
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _invalid(number: PhoneNumber) -> Fault:
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    if short.is_emergency_number(phonenumbers.national_significant_number(number), region):
        return faults.EMERGENCY
    possible = phonenumbers.is_possible_number_with_reason(number)
    if possible in (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY):
        return faults.too_short(region)
    if possible == ValidationResult.TOO_LONG:
        return faults.too_long(region)
    return faults.not_in_use(region)
