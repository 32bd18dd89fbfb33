"""Pace shared by every worker of a line: start times given out by one script in Redis, by Redis's own clock.

The script is the twin of :func:`campaign.policies.pacing.reserve`; a test holds them to the same answers. A bucket is
the next free time. One that is missing (a new line, a flush) starts a whole horizon ahead: by then every start time
that a lost bucket had given out has passed, so losing Redis costs a pause and never a burst. One that lies further
ahead than any start time given out can have left it (the limit was raised, Redis's clock was set back) is cut to that.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from campaign.domain.errors import OutOfReach
from campaign.domain.pace import Reservation, Room, Want
from campaign.policies.pacing import HORIZON, aimed, room

PREFIX = "campaign:pace:"
KEPT_FOR = 86_400
"""Seconds after which an idle bucket is forgotten."""

OFFSET_KEPT_FOR = 60.0
"""Seconds for which the sharpest reading of Redis's clock is trusted; within that, clocks do not drift apart."""

READINGS = 5
"""How often Redis's clock is read where no sharp reading is at hand; the quickest answer counts."""

SPARE = 0.002
"""Seconds by which two honest readings may differ."""

# KEYS: the line's bucket. Answers the time now and the bucket, in microseconds, empty where there is none.
LOOK = "local t = redis.call('TIME') return {t[1] .. string.format('%06d', t[2]), redis.call('GET', KEYS[1]) or ''}"

# KEYS: the line's bucket, then one per want. ARGV: horizon, ttl, the line's interval, then per want its count and own
# interval (0: none), in microseconds. Answers, as one text (a list's items cost more to read than a start time to
# give), the time now, how long to wait (-1: everything given), and pairs of (index of the want, start time), in
# microseconds since the epoch.
SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local horizon, ttl, step = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local finish = now + horizon
local function free(key, step)
  local stored = tonumber(redis.call('GET', key) or finish)
  return math.max(now, math.min(stored, finish + step))
end
local at = free(KEYS[1], step)
local ready, left, own, total = {}, {}, {}, 0
for i = 1, #KEYS - 1 do
  left[i] = tonumber(ARGV[2 + 2 * i])
  own[i] = tonumber(ARGV[3 + 2 * i])
  ready[i] = now
  if own[i] > 0 then ready[i] = free(KEYS[i + 1], own[i]) end
  total = total + left[i]
end
local given = {}
while total > 0 do
  local best = nil
  for i = 1, #left do
    if left[i] > 0 and (best == nil or ready[i] < ready[best]) then best = i end
  end
  local slot = math.max(at, ready[best])
  if slot >= finish then break end
  given[#given + 1] = best - 1
  given[#given + 1] = string.format('%.0f', slot)
  left[best] = left[best] - 1
  total = total - 1
  at = slot + step
  ready[best] = slot + own[best]
end
redis.call('SET', KEYS[1], string.format('%.0f', at), 'EX', ttl)
for i = 1, #left do
  if own[i] > 0 then redis.call('SET', KEYS[i + 1], string.format('%.0f', ready[i]), 'EX', ttl) end
end
local wait = -1
for i = 1, #left do
  if left[i] > 0 then
    local when = math.max(at, ready[i]) - horizon - now
    if wait < 0 or when < wait then wait = math.max(when, 0) end
  end
end
return string.format('%.0f %.0f ', now, wait) .. table.concat(given, ' ')
"""


class RedisThrottle:
    """Implements :class:`campaign.domain.pace.Throttle`. Used from one event loop."""

    def __init__(self, redis: Redis, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._monotonic = monotonic
        self._offset = 0.0  # monotonic minus Redis time
        self._sharpness = float("inf")
        self._read_at = float("-inf")

    async def room(self, line: str, calls_per_second: float) -> Room:
        if self._monotonic() - self._read_at > OFFSET_KEPT_FOR:
            await self._read_clock(line)
        asked = self._monotonic()
        now, stored = (value.decode() for value in await self._ask(LOOK, [PREFIX + line], []))
        self._compare_clocks(int(now) / 1e6, asked, self._monotonic())
        bucket = int(stored) / 1e6 if stored else None
        calls, retry_at = room(bucket, aimed(calls_per_second), int(now) / 1e6)
        if bucket is None:
            return Room(1, retry_at + self._offset)  # asking for one makes the bucket, a horizon ahead
        return Room(calls, retry_at + self._offset)

    async def reserve(self, line: str, calls_per_second: float, wants: Sequence[Want]) -> Reservation:
        keys = [PREFIX + line, *(f"{PREFIX}{line}:{want.key}" for want in wants)]
        asked = self._monotonic()
        answer = await self._ask(SCRIPT, keys, _arguments(calls_per_second, wants))
        return self._read([float(value) for value in answer.split()], asked, self._monotonic())

    async def _ask(self, script: str, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        """EVAL and not EVALSHA: after a flush the first EVALSHA is an error, upon which fakeredis 2.40 hangs up. Redis
        keeps the compiled script either way, and it is asked for only a few times a second."""
        try:
            return await self._redis.eval(script, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            reason = type(error).__name__
            raise OutOfReach(f"the pace cannot be asked for: the broker does not answer ({reason})") from None

    def _read(self, answer: Sequence[float], asked: float, answered: float) -> Reservation:
        now, wait, *given = answer
        self._compare_clocks(now / 1e6, asked, answered)
        slots = tuple((int(given[i]), given[i + 1] / 1e6 + self._offset) for i in range(0, len(given), 2))
        retry_at = None if wait < 0 else now / 1e6 + self._offset + wait / 1e6
        return Reservation(slots, retry_at)

    async def _read_clock(self, line: str) -> None:
        """A first answer comes over a connection that had to be made: one that is 40 ms late would put this worker's
        calls 20 ms beside everybody else's."""
        self._sharpness = float("inf")
        for _ in range(READINGS):
            asked = self._monotonic()
            now = (await self._ask(LOOK, [PREFIX + line], []))[0]
            self._compare_clocks(int(now) / 1e6, asked, self._monotonic())

    def _compare_clocks(self, redis_now: float, asked: float, answered: float) -> None:
        """Keep the reading with the shortest round trip: a slow answer says little about when the script ran. One that
        this answer refutes (Redis moved, or its clock was set) is dropped."""
        round_trip = answered - asked
        refuted = not asked - redis_now - SPARE <= self._offset <= answered - redis_now + SPARE
        if refuted or round_trip <= self._sharpness:
            self._offset = (asked + answered) / 2 - redis_now
            self._sharpness, self._read_at = round_trip, answered


def _arguments(calls_per_second: float, wants: Sequence[Want]) -> list[int]:
    arguments = [round(HORIZON * 1e6), KEPT_FOR, round(1e6 / aimed(calls_per_second))]
    for want in wants:
        arguments += [want.count, round(1e6 / aimed(want.limit)) if want.limit else 0]
    return arguments
