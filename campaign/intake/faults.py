"""Why a row was rejected, and what mends it. No fault repeats the cell: a fault may be logged, a number may not."""

from typing import NamedTuple


class Fault(NamedTuple):
    """``reason`` completes "the FIELD …"; ``remedy`` is what the person should do."""

    reason: str
    remedy: str


EMPTY = Fault("is empty", "write the phone number, or delete the row")
NOT_A_NUMBER = Fault("is not a phone number", "write digits, for example +14155550100")
LETTERS = Fault("holds letters", "write the number in digits only")
SCIENTIFIC = Fault(
    "was turned into scientific notation by a spreadsheet, its last digits are lost",
    "format the column as text in the spreadsheet and enter the number again",
)
NO_COUNTRY = Fault(
    "has no country code and no region was given",
    "write + and the country code in front, or give the region of the file (--region US)",
)
UNKNOWN_COUNTRY = Fault("begins with a country code that does not exist", "check the digits after the +")
EXTENSION = Fault("ends with an extension", "a call cannot reach an extension: write a direct number, or remove it")
SEVERAL = Fault("holds more than one number", "keep one number per row; copy the row for the other one")
EMERGENCY = Fault("is an emergency number", "delete the row; emergency services are never dialled by a campaign")
SHORT = Fault("is a short number", "write a full number; short and service numbers are not dialled")
PREMIUM = Fault("is a premium-rate number", "delete the row or write another number; premium rates are not dialled")
SHARED_COST = Fault("is a shared-cost number", "delete the row or write another number; such rates are not dialled")
SATELLITE = Fault("is a satellite or international-network number", "delete the row or write another number")
STRAY_QUOTE = Fault(
    "has a quotation mark without its partner",
    'write "…" around the whole cell and double every quotation mark inside it',
)
UNDECODABLE = Fault(
    "has bytes that the file's encoding does not know", "save the file as UTF-8, or give its --encoding"
)
CONTROL = Fault("holds a control character (NUL or similar)", "delete the invisible character")
TOO_MANY = Fault("has more columns than the header", "put cells that hold the delimiter in quotation marks")
TOO_FEW = Fault("has fewer columns than the header", "add the missing cells; they may be empty")
LONG_FIELD = Fault("is longer than a cell may be", "shorten the cell")
LONG_ROW = Fault("is longer than a row may be; only its beginning is kept", "shorten the row")


def too_short(region: str) -> Fault:
    return Fault(f"is too short for a number in {region}", "add the missing digits, the area code included")


def too_long(region: str) -> Fault:
    return Fault(
        f"is too long for a number in {region}", "check the digits; if it has a country code, write + in front"
    )


def not_in_use(region: str) -> Fault:
    return Fault(
        f"is not a number that exists in {region}",
        "check the digits; if it belongs to another country, write + and the country code in front",
    )
