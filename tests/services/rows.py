"""Rows as the engine leaves them, for tests of what an operator does with them."""

from itertools import count
from typing import Any

from sqlalchemy import RowMapping, insert, select, update

from campaign.domain.plan import Plan
from campaign.services import campaigns
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, events, targets, uploads

_serial = count(1)


def running(store: Store, name: str = "recall", line: str = "sandbox", **plan: Any) -> int:
    """A running campaign's id."""
    made = campaigns.create(store, name, line, Plan.model_validate(plan))
    campaigns.start(store, name)
    return made.id


def add_upload(store: Store, campaign_id: int, columns: list[str] | None = None, **values: Any) -> int:
    row = {
        "campaign_id": campaign_id,
        "sha256": f"{next(_serial):064d}",
        "file_name": "numbers.csv",
        "bytes": 1,
        "reading": {},
        "columns": columns or ["phone"],
        "state": "visible",
        "received_at": 0.0,
        **values,
    }
    with store.write() as connection:
        return int(connection.execute(insert(uploads).values(row).returning(uploads.c.id)).scalar_one())


def add_target(store: Store, campaign_id: int, phone: str, state: str = "waiting", **values: Any) -> int:
    row = {"campaign_id": campaign_id, "phone": phone, "state": state, "variables": {}, "tally": {}, **values}
    if state == "waiting":
        row.setdefault("due_at", 0.0)
    with store.write() as connection:
        return int(connection.execute(insert(targets).values(row).returning(targets.c.id)).scalar_one())


def add_attempt(store: Store, target_id: int, state: str = "ended", **values: Any) -> int:
    with store.write() as connection:
        target = connection.execute(select(targets).where(targets.c.id == target_id)).mappings().one()
        row = {
            "target_id": target_id,
            "campaign_id": target["campaign_id"],
            "line": "sandbox",
            "phone": target["phone"],
            "our_ref": f"{next(_serial):032x}",
            "state": state,
            "claimed_at": 0.0,
            **values,
        }
        attempt_id = int(connection.execute(insert(attempts).values(row).returning(attempts.c.id)).scalar_one())
        if state in ("claimed", "sending", "placed", "unconfirmed"):
            connection.execute(update(targets).where(targets.c.id == target_id).values(attempt_id=attempt_id))
        return attempt_id


def target(store: Store, target_id: int) -> RowMapping:
    with store.read() as connection:
        return connection.execute(select(targets).where(targets.c.id == target_id)).mappings().one()


def attempt(store: Store, attempt_id: int) -> RowMapping:
    with store.read() as connection:
        return connection.execute(select(attempts).where(attempts.c.id == attempt_id)).mappings().one()


def journal(store: Store) -> list[str]:
    """The kinds of all events, in order."""
    with store.read() as connection:
        return list(connection.execute(select(events.c.kind).order_by(events.c.id)).scalars())
