"""Rolling restarts under load raise no doubt. The full figure: ``python -m tests.chaos --deploys 200``."""

from pathlib import Path

import pytest

from tests.chaos.deploys import deploys
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.chaos


def test_a_worker_that_is_told_to_stop_finishes_what_is_in_the_air(
    redis_server: RedisServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    # Given two workers that dial 40 numbers a second, each of which takes the provider most of a second
    # When each in turn gets SIGTERM and is started again, eight times
    result = deploys(8, redis_server, postgres_server, tmp_path)
    # Then every one exited 0 in time, nothing was unconfirmed, nothing had to be rescued, nobody was rung twice
    assert result.clean, result.report()
    assert result.idle_stops <= 3, result.report()
