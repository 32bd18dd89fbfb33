"""Which column holds the phone, told from the header's words in the languages that upload lists are written in."""

import re
import unicodedata
from collections.abc import Sequence

_EXACT = """
phone, phone number, phone no, phone num, phone e164, e164, telephone, telephone number, telephone no, tel, tel no,
tel number, mobile, mobile number, mobile no, mobile phone, mobile phone number, cell, cell phone, cell number,
cell phone number, cellular, msisdn,
telefon, telefonnummer, telefonnr, telefon nr, tel nr, handy, handynummer, handynr, mobil, mobilnummer, mobiltelefon,
mobilfunk, mobilfunknummer, rufnummer, festnetz, festnetznummer,
telefon no, telefon numarası, telefon numarasi, cep, cep no, cep tel, cep telefonu, gsm, gsm no, gsm numarası,
teléfono, número de teléfono, móvil, celular, téléphone, numéro de téléphone, portable, telefone, telemóvel,
telefono, cellulare, numero di telefono, telefoon, telefoonnummer, mobiel, telefoni, puhelin, puhelinnumero,
telefonszám, numer telefonu, komórka, телефон, номер телефона, мобильный, τηλέφωνο, κινητό,
電話, 電話號碼, 電話番号, 电话, 电话号码, 手機, 手機號碼, 行動電話, 手机, 手机号, 手机号码,
携帯, 携帯電話, 携帯番号, 携帯電話番号,
전화, 전화번호, 휴대폰, 휴대폰번호, 휴대전화, 핸드폰, फ़ोन, मोबाइल, هاتف, رقم الهاتف, جوال, טלפון, số điện thoại, โทรศัพท์
"""
_WEAK = (
    "number, no, nr, num, numara, nummer, numéro, número, contact, contact number, contact no, callee, 番号, 號碼, 号码"
)
_WORDS = frozenset({"phone", "telephone", "tel", "mobile", "cell", "cellphone", "msisdn", "telefon", "handy", "mobil"})
_INSIDE = ("電話", "电话", "手機", "手机", "携帯", "전화", "휴대폰")
_ABOUT = frozenset(
    {"type", "country", "code", "ext", "extension", "provider", "carrier", "operator", "model", "brand", "os"}
    | {"verified", "valid", "consent", "optin", "optout", "opt", "status", "count", "label", "plan", "plans", "bill"}
    | {"time", "zone", "timezone", "date", "notes", "note", "name"}
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def normal(name: str) -> str:
    """Letters and digits only, without case and accents: ``Phone-Number`` and ``PHONE number`` are one."""
    bare = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in bare if character.isalnum())


_EXACT_NAMES = frozenset(normal(name) for name in _EXACT.split(","))
_WEAK_NAMES = frozenset(normal(name) for name in _WEAK.split(","))


def phone_candidates(header: Sequence[str]) -> list[int]:
    """Columns that may hold the phone: those whose name says just that, else says it among others, else hints at it."""
    tests = (_named_phone, _speaks_of_phones, lambda name: normal(name) in _WEAK_NAMES)
    for test in tests:
        if found := [index for index, name in enumerate(header) if test(name)]:
            return found
    return []


def _named_phone(name: str) -> bool:
    return normal(name) in _EXACT_NAMES


def names_a_phone(header: Sequence[str]) -> bool:
    return any(_named_phone(name) for name in header)


def _speaks_of_phones(name: str) -> bool:
    words = {normal(word) for word in re.split(r"[\W_\d]+", _CAMEL.sub(" ", name))}
    return not words & _ABOUT and (bool(words & _WORDS) or any(word in name for word in _INSIDE))


def variable_names(header: Sequence[str]) -> tuple[str, ...]:
    """The header as it came but for outer spaces; an empty name becomes ``column_N``, a repeated one gets ``_2``."""
    names: list[str] = []
    for position, cell in enumerate(header, start=1):
        names.append(_unique(cell.strip() or f"column_{position}", names))
    return tuple(names)


def _unique(name: str, taken: list[str]) -> str:
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    return unique
