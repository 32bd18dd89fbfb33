"""What stands where an erased number stood: a keyed hash in letters only, which nothing can take for a number.

Plain hashes of numbers can be undone by trying all numbers; this one only by whoever has the key as well.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

MARK = "erased:"
"""What every such word begins with."""

ERASED = "erased on request"
"""The reason of a target that is skipped because its person was erased."""

LEAST_KEY = 16
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


@dataclass(frozen=True, slots=True)
class ErasureKey:
    """The key with which numbers are hashed. It must stay the same for as long as the numbers must stay suppressed."""

    secret: str = field(repr=False)

    def digest(self, phone: str) -> str:
        """71 characters for an E.164 number with ``+``; the same for the same number, always."""
        return MARK + self._hash(f"number {phone}").translate(_LETTERS)

    @property
    def fingerprint(self) -> str:
        """16 characters by which two keys are told apart and none is found out."""
        return self._hash("fingerprint")[:16]

    def _hash(self, text: str) -> str:
        return hmac.digest(self.secret.encode(), text.encode(), hashlib.sha256).hex()


def is_erased(phone: str) -> bool:
    """Whether this stands in place of a number."""
    return phone.startswith(MARK)


def lettered(number: int) -> str:
    """A whole number in letters, to tell two rows of one campaign apart that were the same number."""
    return f"{number:x}".translate(_LETTERS)
