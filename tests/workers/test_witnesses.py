"""The memory that outlives a worker, in Redis; the side file is tested where it matters, tests/services/."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis import Redis

from campaign.domain.errors import OutOfReach
from campaign.domain.restores import Witness
from campaign.services.restoring import Unreadable
from tests.servers import free_port
from workers.witnesses import KEPT, KEY, InRedis

SEEN = Witness("a" * 32, 1_790_000_000.123456, "b" * 32, 1_790_000_001.654321)


@pytest.fixture
def redis(clean_redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(clean_redis_url) as client:
        yield client


def test_what_one_machine_was_sure_of_another_reads_to_the_last_digit(redis: Redis) -> None:
    InRedis(redis).write(SEEN)
    assert InRedis(redis).read(SEEN.database_id) == [SEEN]
    # And it says nothing about another database, and nothing once it was emptied
    assert InRedis(redis).read("c" * 32) == []
    redis.flushall()
    assert InRedis(redis).read(SEEN.database_id) == []


def test_the_last_commits_of_all_are_kept_the_latest_first_and_no_more(redis: Redis) -> None:
    told = [replace(SEEN, our_ref=f"{i:032x}") for i in range(KEPT + 3)]
    for witness in told:
        InRedis(redis).write(witness)
    assert InRedis(redis).read(SEEN.database_id) == told[:2:-1]
    assert redis.llen(KEY.format(SEEN.database_id)) == KEPT


@pytest.mark.parametrize("junk", [b"", b"[1]", b"{}", b"\xff", b'{"database_id": "x", "sent_at": []}'])
def test_what_is_no_witness_is_told_and_can_be_set_aside(redis: Redis, junk: bytes) -> None:
    redis.lpush(KEY.format(SEEN.database_id), junk)
    _is_told_and_set_aside(redis)


def test_what_is_no_list_is_told_and_can_be_set_aside(redis: Redis) -> None:
    redis.set(KEY.format(SEEN.database_id), "")
    _is_told_and_set_aside(redis)


def _is_told_and_set_aside(redis: Redis) -> None:
    with pytest.raises(Unreadable, match="Redis"):
        InRedis(redis).read(SEEN.database_id)
    InRedis(redis).set_aside(SEEN.database_id)
    assert InRedis(redis).read(SEEN.database_id) == []


def test_a_redis_that_cannot_be_asked_is_not_one_that_remembers_nothing() -> None:
    nobody = InRedis(Redis(port=free_port()))
    with pytest.raises(OutOfReach):
        nobody.read(SEEN.database_id)
    with pytest.raises(OutOfReach):
        nobody.write(replace(SEEN))
    nobody.set_aside(SEEN.database_id)
