"""Everything that a database holds, as one text to search: what is erased must not be in it."""

from typing import Any

from sqlalchemy import select

from campaign.storage.engine import Store
from campaign.storage.schema import metadata


def dump(store: Store) -> str:
    """Every row of every table, bytes as text."""
    with store.read() as connection:
        return "\n".join(
            f"{table.name}: {[_text(value) for value in row]}"
            for table in metadata.sorted_tables
            for row in connection.execute(select(table))
        )


def lines_with(store: Store, *words: str) -> list[str]:
    """The rows in which one of these stands, spelt so; a test says that there are none."""
    return [line for line in dump(store).splitlines() if any(word in line for word in words)]


def spellings(phone: str) -> tuple[str, ...]:
    """Of a North American number."""
    area, exchange, last = phone[2:5], phone[5:8], phone[8:]
    return (area + exchange + last, f"({area}) {exchange}-{last}", f"{area}-{exchange}-{last}")


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
