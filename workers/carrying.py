"""Which processes dial a line just now, in Redis: as few as keep its pace.

Each process that dials a line claims for itself, records for itself and asks for the pace by itself, so that two on one
line do half as much again as one. Who is on a line says so again and again; who falls silent has made room a second
later. It is a hint like every order: where Redis does not answer, or has forgotten, more dial than need be, and the
pace and the claims are none the worse.
"""

import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PREFIX = "campaign:carriers:"

KEPT_FOR = 1.0
"""Seconds after which a process that has not said so again is taken to be gone."""

NEED_KEPT_FOR = 5.0
"""Seconds for which it is remembered how many an order said that are needed; the tick sends one a second."""

# KEYS: by process the moment until which it carries the line; how many are needed. ARGV: the process, how many are
# needed ('': as was last said), for how long it joins, for how long the need is remembered (milliseconds).
JOIN = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
if ARGV[2] ~= '' then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[4]) end
local said = redis.call('GET', KEYS[2])
local needed = said and tonumber(said) or math.huge
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('ZCARD', KEYS[1]) >= needed then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Carriers:
    """``process`` is the name of this one. Used from one event loop."""

    def __init__(self, redis: Redis, process: str) -> None:
        self._redis = redis
        self._process = process

    async def join(self, line: str, needed: int | None = None) -> bool:
        """Be one of those that carry the line, or stay one. False where as many others do as are ``needed``, or as the
        last order said that there are (None)."""
        keys = (PREFIX + line, f"{PREFIX}{line}:needed")
        said = "" if needed is None else needed
        try:
            return bool(await self._redis.eval(JOIN, 2, *keys, self._process, said, *_milliseconds()))
        except (RedisError, OSError) as error:
            log.warning("line %s: nobody says who dials it (%s)", line, type(error).__name__)
            return True

    async def leave(self, line: str) -> None:
        """Another may carry it at once."""
        try:
            await self._redis.zrem(PREFIX + line, self._process)
        except (RedisError, OSError):
            log.debug("line %s: not told that this process has left it", line)


def _milliseconds() -> tuple[int, int]:
    return round(KEPT_FOR * 1000), round(NEED_KEPT_FOR * 1000)
