"""A campaign never completes unseen: whoever makes work locks the campaign first, and completing asks again after."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import Connection, insert, text, update

from campaign.domain.states import CampaignState
from campaign.services import campaigns as services
from campaign.storage import campaigns
from campaign.storage.engine import Store
from campaign.storage.schema import targets, uploads
from tests.services.rows import add_target, running


def a_held_target_waits_again(connection: Connection, campaign_id: int) -> None:
    connection.execute(update(targets).where(targets.c.state == "held").values(state="waiting", due_at=0.0))
    campaigns.wake(connection, campaign_id)


def an_upload_arrives(connection: Connection, campaign_id: int) -> None:
    row = {"campaign_id": campaign_id, "sha256": "0" * 64, "file_name": "b.csv", "bytes": 1, "reading": {}}
    connection.execute(insert(uploads).values(**row, received_at=0.0))


def wait_until_somebody_is_blocked(store: Store) -> None:
    """On PostgreSQL another transaction can be seen to wait for a lock; on SQLite it queues for the file unseen."""
    deadline = time.monotonic() + 10
    while not store.sqlite and time.monotonic() < deadline:
        with store.read() as connection:
            if connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                return


@pytest.mark.parametrize("make_work", [a_held_target_waits_again, an_upload_arrives])
def test_completing_waits_for_whoever_makes_work_and_then_sees_it(
    store: Store, make_work: Callable[[Connection, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a campaign with nothing left but a held target
    campaign = running(store)
    add_target(store, campaign, "+12025550101", "held")
    looked, finished = Event(), campaigns.finished

    def finished_and_told(connection: Connection, only: list[int] | None = None) -> list[int]:
        found = finished(connection, only)
        looked.set()
        return found

    monkeypatch.setattr(campaigns, "finished", finished_and_told)
    with ThreadPoolExecutor(1) as pool:
        # When somebody who holds its row makes work, and has not committed while another sees it as finished
        with store.write() as connection:
            campaigns.lock(connection, campaign)
            make_work(connection, campaign)
            completing = pool.submit(services.complete_finished, store)
            assert looked.wait(10)
            wait_until_somebody_is_blocked(store)
            assert not completing.done()
        # Then it does not complete
        assert completing.result() == []
    assert services.get(store, "recall").state is CampaignState.RUNNING
