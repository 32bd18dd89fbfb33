"""What a process remembers may grow while it asks the database: that alone is no sign that anything was lost."""

from collections.abc import Collection
from typing import Any

import pytest
from sqlalchemy import select

from campaign.services.claiming import Wish, claim, confirm
from campaign.services.restoring import Memory, review
from campaign.storage import line_rows
from campaign.storage.engine import Connection, Store
from campaign.storage.line_rows import LineRow
from campaign.storage.schema import dispatch
from tests.engine import LINE, add_campaign, numbers

MINE = "a" * 32


@pytest.mark.parametrize("asked_in", ["lock_line", "read_line"])
def test_a_commit_of_another_thread_while_the_question_waits_locks_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, asked_in: str
) -> None:
    # Given a process of several threads, which has not committed anything yet
    add_campaign(store, numbers(2))
    memory = Memory()
    review(store, memory, MINE)
    ask = getattr(line_rows, asked_in)

    def asked_and_waited(connection: Connection, name: str, our_refs: Collection[str] = ()) -> LineRow:
        row: LineRow = ask(connection, name, our_refs)
        # When another thread commits after the question's snapshot was taken
        memory.committed(row.watch, "f" * 32, store.clock.now())
        return row

    monkeypatch.setattr(line_rows, asked_in, asked_and_waited)
    refs = iter(f"{number:032x}" for number in range(1, 9))
    found = claim(store, LINE, Wish(2), lambda: next(refs), None, memory)
    # Then it goes on dialling
    assert len(found.calls) == 2
    memory.seen = None  # the other thread's attempt is not there when it is asked for in earnest
    assert len(confirm(store, LINE, found.calls, 10.0, {}, None, memory)) == 2
    assert _locked_at(store) is None


def _locked_at(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(select(dispatch.c.locked_at)).scalar_one()
