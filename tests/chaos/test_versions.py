"""Yesterday's workers on tomorrow's tables, and orders of other versions: during a deploy both run side by side."""

from collections import Counter
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import OperationalError

from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.storage.schema import attempts, campaigns, targets
from tests.chaos.lab import LINE, Lab, lab
from tests.chaos.newer import NEW_WORD, expand
from tests.engine import add_campaign, numbers
from tests.servers import RedisServer

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PLAN = Plan(retry={})
MANY = 60
OURS, PARKED, THEIRS = numbers(MANY), "+12025559001", ["+12025559002", "+12025559003"]


def expanded(here: Lab) -> bool:
    """False where the tables' locks met a worker's in the other order: then the migration is begun again."""
    try:
        with here.store.write() as connection:
            expand(connection)
    except OperationalError:
        return False
    return True


def state_of(here: Lab, campaign_id: int) -> str:
    with here.store.read() as connection:
        return str(connection.execute(select(campaigns.c.state).where(campaigns.c.id == campaign_id)).scalar_one())


def written_by_a_newer_version(here: Lab, campaign_id: int) -> int:
    """A target and its live attempt in a state of tomorrow, and a campaign whose plan holds a gate of tomorrow. Returns
    the latter's id."""
    with here.store.write() as connection:
        parked = {"campaign_id": campaign_id, "phone": PARKED, "variables": {}, "tally": {NEW_WORD: 1}}
        target = connection.execute(
            insert(targets).returning(targets.c.id), [{**parked, "state": NEW_WORD, "disposition": NEW_WORD}]
        ).scalar_one()
        attempt = {"target_id": target, "campaign_id": campaign_id, "line": LINE, "phone": PARKED, "our_ref": "f" * 32}
        # Its lease is over, so the sweep of this version meets it each second: the state it knows, the rest it does not
        late = {"state": "sending", "verdict": NEW_WORD, "claimed_at": 1.0, "lease_until": 1.0}
        connection.execute(insert(attempts), [{**attempt, **late}])
    other = add_campaign(here.store, THEIRS, name="with-a-gate-of-tomorrow", line=LINE, plan=PLAN)
    with here.store.write() as connection:
        plan = {**PLAN.model_dump(mode="json", by_alias=True), "quiet_moons": ["full"]}
        connection.execute(update(campaigns).where(campaigns.c.id == other).values(plan=plan))
    return other


def send_orders_of_other_versions(here: Lab) -> None:
    """Names, arguments and a form that this version does not know, and an order as an older one may have sent it."""
    app = Celery(broker=here.redis.url)
    app.send_task("measure", args=[LINE], queue="dial")
    app.send_task("dial", args=[LINE], kwargs={"version": 2, "share": 0.5}, queue="dial")
    app.send_task("poll", args=[], queue="poll")
    app.send_task("poll", args=[{"line": LINE}], queue="poll")
    app.send_task("tick", args=["v2"], queue="control")
    app.send_task("intake", args=["not-a-number"], queue="intake")
    app.send_task("dial", args=[LINE], queue="dial", serializer="pickle")  # refused unread
    app.conf.task_protocol = 1
    app.send_task("dial", args=[LINE], queue="dial")
    app.close()


def test_this_version_dials_a_campaign_through_on_the_tables_of_the_next(
    redis_server: RedisServer, postgres_url: str, tmp_path: Path
) -> None:
    with lab(tmp_path, redis_server, postgres_url, {"mix": "answered=70,busy=30"}) as here:
        # Given a worker at work, whose tables are then changed under its hands by the next version's migration
        recall = add_campaign(here.store, OURS, name="recall", line=LINE, plan=PLAN)
        worker = here.worker("worker", 2)
        here.beat()
        assert here.wait(lambda: here.simulator.ledger().placed >= 5), here.logs()
        assert here.wait(lambda: expanded(here)), "the tables could not be locked"
        # And one that is started after it
        here.worker("started-after", 1)
        # When the next version's workers write what this one does not know, and send orders that it does not know
        gated = written_by_a_newer_version(here, recall)
        pids = worker.forked()
        send_orders_of_other_versions(here)
        # Then the campaign is dialled through
        assert here.wait(lambda: state_of(here, recall) == CampaignState.COMPLETED), here.logs()
        rung = Counter(call.number for call in here.simulator.ledger("calls").calls or ())
        assert rung == dict.fromkeys(OURS, 1)
        # And what is tomorrow's is as it was
        with here.store.read() as connection:
            row = connection.execute(select(attempts).where(attempts.c.phone == PARKED)).mappings().one()
            assert (row["state"], row["verdict"], row["lease_until"]) == ("sending", NEW_WORD, 1.0)
            person = connection.execute(select(targets).where(targets.c.phone == PARKED)).mappings().one()
            assert (person["state"], person["disposition"]) == (NEW_WORD, NEW_WORD)
            query = select(func.count()).where(targets.c.campaign_id == gated, targets.c.state == "waiting")
            assert connection.execute(query).scalar_one() == len(THEIRS)
        assert state_of(here, gated) == CampaignState.RUNNING
        # And nobody has fallen over, and each strange order left a line in the log
        assert worker.alive()
        assert worker.forked() == pids
        said = here.logs()
        assert "quiet_moons" in said
        logged = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
        for what in ("'measure'", "ContentDisallowed", "does not know", "argument 'version'"):
            assert what in logged, what
