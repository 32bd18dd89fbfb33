"""What was declared with a file. Travels with the upload as JSON, so that any worker reads it the same way."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from phonenumbers import SUPPORTED_REGIONS

from campaign.domain.errors import UsageFault

DELIMITERS = {",": ",", ";": ";", "|": "|", "\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "tab": "\t"}
DELIMITERS["\\t"] = "\t"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may hold. ``file_bytes`` in bytes, ``field`` and ``row`` in characters."""

    file_bytes: int = 16 * 1024**3
    columns: int = 64
    field: int = 4096
    row: int = 262_144
    lines_per_row: int = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read. Everything left out is found by itself, except the region.

    ``region`` is ISO 3166-1 alpha-2, for numbers written without a country code. ``mapping`` is ``{"phone": COLUMN}``,
    the column by its name or, where there is no header, by its number from 1.
    """

    region: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    limits: Limits = Limits()

    def checked(self) -> Self:
        """The same with region and delimiter in their one spelling. Raises UsageFault naming the bad value."""
        return type(self)(
            region=_region(self.region),
            mapping=_mapping(self.mapping),
            encoding=self.encoding,
            delimiter=_delimiter(self.delimiter),
            limits=self.limits,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"mapping": dict(self.mapping)}

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> Self:
        """Reads what :meth:`as_json` wrote; words that others added beside it are passed over."""
        return cls(
            region=words.get("region"),
            mapping=dict(words.get("mapping") or {}),
            encoding=words.get("encoding"),
            delimiter=words.get("delimiter"),
            limits=Limits(**words.get("limits", {})),
        )


def _region(region: str | None) -> str | None:
    if not region:
        return None
    code = region.strip().upper()
    if code not in SUPPORTED_REGIONS:
        hint = " (the United Kingdom is GB)" if code == "UK" else ""
        raise UsageFault(
            f"region: {region!r} is not a country{hint}; write the two letters of ISO 3166-1, for example US, TW or DE"
        )
    return code


def _mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    for key, column in mapping.items():
        if key != "phone":
            raise UsageFault(f"map: {key!r} cannot be mapped; only the phone column can: --map phone=COLUMN")
        if not column.strip():
            raise UsageFault("map: the column is missing; write --map phone=COLUMN")
    return dict(mapping)


def _delimiter(delimiter: str | None) -> str | None:
    if not delimiter:
        return None
    if delimiter.lower() not in DELIMITERS:
        raise UsageFault(f"delimiter: {delimiter!r} cannot separate columns; write comma, semicolon, tab or pipe")
    return DELIMITERS[delimiter.lower()]
