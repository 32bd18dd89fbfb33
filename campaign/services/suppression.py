"""Who was erased must never be dialled or stored again: the questions that claim, intake, list and inbox ask.

Only the keyed hash of a number is known here, so every question needs the key. A process without it cannot tell, and
must not go on as if nobody had been erased.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from campaign.domain.calls import CallReport
from campaign.domain.erasure import ErasureKey
from campaign.domain.errors import UsageFault
from campaign.intake.numbers import read_number
from campaign.intake.rows import GoodRow
from campaign.intake.sheet import RejectedRow
from campaign.policies.traces import pieces
from campaign.storage import erasures
from campaign.storage.engine import Connection, Store

NOTED_EVERY = 5.0
_NOT_DIGIT = re.compile(r"\D+")


class ErasureKeyMissing(UsageFault):
    """Numbers have been erased, and this process has no key, or another one."""


def missing(key: ErasureKey | None) -> ErasureKeyMissing:
    what = "no erasure key" if key is None else "another erasure key"
    return ErasureKeyMissing(
        f"numbers were erased here, and this process has {what}, so it cannot tell them: "
        "give every process the same CAMPAIGN_ERASURE_KEY"
    )


def erased_among(connection: Connection, key: ErasureKey | None, phones: Collection[str]) -> set[str]:
    """Those of these E.164 numbers that were erased. One cheap look where nobody ever was. Raises ErasureKeyMissing."""
    used = erasures.fingerprint(connection)
    if used is None or not phones:
        return set()
    if key is None or key.fingerprint != used:
        raise missing(key)
    by_digest = {key.digest(phone): phone for phone in phones}
    return {by_digest[digest] for digest in erasures.known(connection, list(by_digest))}


def note_missing(store: Store) -> None:
    """Let `campaign why` and `campaign doctor` know that a process refuses to work."""
    with store.write() as connection:
        now, last = store.now(connection), erasures.missed_at(connection)
        if last is None or now - last > NOTED_EVERY:
            erasures.note_missed(connection, now)


# --- an upload -------------------------------------------------------------------------------------------------------


def suppress_rows(
    connection: Connection, key: ErasureKey | None, rows: Sequence[GoodRow]
) -> tuple[list[GoodRow], bool]:
    """The rows to store, an erased person's with nothing in it but the hash; and whether there was one."""
    erased = erased_among(connection, key, {row.phone for row in rows})
    if key is None or not erased:
        return list(rows), False
    return [GoodRow(r.line_no, key.digest(r.phone), "", {}) if r.phone in erased else r for r in rows], True


def empty_rejects(
    connection: Connection, key: ErasureKey | None, rows: Sequence[RejectedRow], region: str | None
) -> list[RejectedRow]:
    """The same rows; of those in which an erased number can be read, the cells are empty."""
    if not rows or erasures.fingerprint(connection) is None:
        return list(rows)
    read = [{number for cell in row.cells for number in _numbers(cell, region)} for row in rows]
    erased = erased_among(connection, key, set().union(*read))
    return [
        row._replace(cells=[""] * len(row.cells)) if numbers & erased else row
        for row, numbers in zip(rows, read, strict=True)
    ]


def _numbers(text: str, region: str | None) -> Iterator[str]:
    """What may be an E.164 number in a text."""
    for piece in pieces(text):
        number = read_number(piece, region)
        if isinstance(number, str):
            yield number
        yield "+" + _NOT_DIGIT.sub("", piece)


# --- a delivery ------------------------------------------------------------------------------------------------------


def concerns_erased(
    connection: Connection, key: ErasureKey | None, reports: Iterable[CallReport], body: bytes, query: str
) -> bool:
    """Must what a delivery said be forgotten? By the attempts that it is about and, with the key, by the numbers."""
    used = erasures.fingerprint(connection)
    if used is None:
        return False
    told = list(reports)
    if erasures.any_erased(connection, [r.attempt_id for r in told if r.attempt_id is not None]):
        return True
    if key is None or key.fingerprint != used:
        return False
    numbers = {r.phone for r in told if r.phone} | set(_numbers(body.decode("utf-8", "replace"), None))
    return bool(erased_among(connection, key, numbers | set(_numbers(query, None))))
