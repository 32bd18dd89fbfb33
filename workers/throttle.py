"""Pace shared by every worker of a line: start times given out by one script in Redis, by Redis's own clock.

The script is the twin of :func:`campaign.policies.reserving.reserve`, which says what it does and why; a test holds
them to the same answers. A bucket is the next free time. One that is missing (a new line, a flush) starts so far ahead
that every start time that a lost bucket had given out is over, so losing Redis costs a pause and never a burst. So does
one that lies further ahead than any start time given out can have left it (Redis's clock was set back).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from campaign.domain.errors import OutOfReach
from campaign.domain.pace import Correction, Reservation, Room, StartTime, Want
from campaign.policies.pacing import HORIZON, LATEST, SECOND, spacing

PREFIX = "campaign:pace:"
KEPT_FOR = 86_400
"""Seconds after which an idle line's books are forgotten."""

OFFSET_KEPT_FOR = 60.0
"""Seconds for which the sharpest reading of Redis's clock is trusted; within that, clocks do not drift apart."""

READINGS = 5
"""How often Redis's clock is read where no sharp reading is at hand; the quickest answer counts."""

SPARE = 0.002
"""Seconds by which two honest readings may differ."""

MOST_ROOM = 1000
"""Start times that are counted when somebody asks how many there are."""

TIME = "local t = redis.call('TIME') return t[1] .. string.format('%06d', t[2])"

# KEYS: the line's bucket; its noted start times, each by the latest moment at which its call may have left; its spacing
# (the first start time since it was idle; step, quick step, most and lateness, as last taken by); then one bucket per
# want. ARGV: 'look' or 'take', horizon, ttl, how late a call may be at most, the line's opening, step, quick step, most
# in a second and lateness of calls not told of, the corrections as one text (pairs of start time and how late its call
# left, -1: unused), the number of wants, and per want its count and own step (0: none); all in microseconds.
# Answers, as one text (a list's items cost more to read than a start time to give), the time now, how long to wait (-1:
# everything given), the number of start times, and pairs of (index of the want, start time).
#
# A look takes nothing, and goes by the spacing last taken by: who looks learns the line's limit only by claiming.
# Before a line's books are opened it says that there is one start time, since asking for one opens them.
SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local taken, horizon, ttl, latest = ARGV[1] == 'take', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local opening, step, quick = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local most, late, groups = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[11])
local bucket, noted = KEYS[1], KEYS[2]
local finish = now + horizon
local function text(number) return string.format('%.0f', number) end
local function keep(key, at) redis.call('SET', key, text(at), 'EX', ttl) end
local function no_further(stored, furthest) return math.max(now, math.min(stored, now + furthest)) end
local at, last = tonumber(redis.call('GET', bucket) or ''), redis.call('ZRANGE', noted, -1, -1, 'WITHSCORES')[2]
if at == nil or tonumber(last or 0) > finish + latest then
  if not taken then return text(now) .. ' ' .. text(opening - horizon) .. ' 1' end
  redis.call('DEL', noted, KEYS[3])
  at = now + opening
elseif last then
  at = no_further(at, horizon + step)
else
  at = no_further(at, opening + step)
end

-- what the groups want
local ready, left, own, total = {}, {}, {}, 0
for i = 1, groups do
  left[i] = tonumber(ARGV[10 + 2 * i])
  own[i] = tonumber(ARGV[11 + 2 * i])
  ready[i] = now
  if own[i] > 0 then ready[i] = no_further(tonumber(redis.call('GET', KEYS[i + 3]) or finish), horizon + own[i]) end
  total = total + left[i]
end
local function next_group()
  local best = nil
  for i = 1, groups do
    if left[i] > 0 and (best == nil or ready[i] < ready[best]) then best = i end
  end
  return best
end

-- what is noted, and what came of it
local since, kept = nil, {}
for number in string.gmatch(redis.call('GET', KEYS[3]) or '', '%d+') do kept[#kept + 1] = tonumber(number) end
if kept[1] then since = kept[1] end
if kept[1] and not taken then step, quick, most, late = kept[2], kept[3], kept[4], kept[5] end
for mark, told in string.gmatch(ARGV[10], '(%d+) (-?%d+)') do
  if told == '-1' then
    redis.call('ZREM', noted, mark)
  else
    redis.call('ZADD', noted, 'XX', text(tonumber(mark) + tonumber(told)), mark)
  end
end
redis.call('ZREMRANGEBYSCORE', noted, '-inf', text(now - 1000000))
local count = redis.call('ZCARD', noted)
if count == 0 then since = nil end

-- in order of time, a second after the latest of the last ones at least
local times, given = {}, {}
local from, to = math.max(0, count - most), count - most + total
local known = {}
if to >= 0 then known = redis.call('ZRANGE', noted, from, to, 'WITHSCORES') end
local function first()
  local rank = count + #times - most
  if rank < 0 then return at end
  if rank < count then return math.max(at, tonumber(known[2 * (rank - from) + 2]) + 1000000) end
  return math.max(at, times[rank - count + 1] + late + 1000000)
end
while total > 0 do
  local group = next_group()
  local slot = math.max(first(), ready[group])
  if slot >= finish then break end
  since = since or slot
  at = slot + step
  if slot >= since + 1000000 then at = slot + quick end
  times[#times + 1] = slot
  given[#given + 1] = group - 1
  given[#given + 1] = text(slot)
  left[group] = left[group] - 1
  total = total - 1
  ready[group] = slot + own[group]
end
local wait = -1
for i = 1, groups do
  if left[i] > 0 then
    local when = math.max(first(), ready[i]) - finish
    if wait < 0 or when < wait then wait = math.max(when, 0) end
  end
end

local answer = text(now) .. ' ' .. text(wait) .. ' ' .. #times
if not taken then return answer end
keep(bucket, at)
for i = 1, groups do
  if own[i] > 0 then keep(KEYS[i + 3], ready[i]) end
end
if since then
  local spacing = {text(since), text(step), text(quick), text(most), text(late)}
  redis.call('SET', KEYS[3], table.concat(spacing, ' '), 'EX', ttl)
end
for i = 1, #times do redis.call('ZADD', noted, text(times[i] + late), text(times[i])) end
redis.call('EXPIRE', noted, ttl)
return answer .. ' ' .. table.concat(given, ' ')
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
            await self._read_clock()
        now, wait, calls = await self._asked("look", line, calls_per_second, [Want("room", MOST_ROOM)])
        return Room(int(calls), now + wait)

    async def reserve(
        self, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
    ) -> Reservation:
        now, wait, _, *given = await self._asked("take", line, calls_per_second, wants, corrections)
        pairs = zip(given[::2], given[1::2], strict=True)
        starts = tuple(StartTime(int(want), at / SECOND + self._offset, int(at)) for want, at in pairs)
        return Reservation(starts, None if wait < 0 else now + wait)

    async def _asked(
        self,
        what: str,
        line: str,
        calls_per_second: float,
        wants: Sequence[Want],
        corrections: Sequence[Correction] = (),
    ) -> list[float]:
        """The script's answer, with its first two numbers in seconds: the monotonic time, and how long to wait."""
        asked = self._monotonic()
        answer = await self._ask(SCRIPT, *_asking(what, line, calls_per_second, wants, corrections))
        now, wait, *more = (float(word) for word in answer.split())
        self._compare_clocks(now / SECOND, asked, self._monotonic())
        return [now / SECOND + self._offset, wait / SECOND, *more]

    async def _ask(self, script: str, keys: Sequence[str] = (), arguments: Sequence[int | str] = ()) -> Any:
        """EVAL and not EVALSHA: after a flush the first EVALSHA is an error, upon which fakeredis 2.40 hangs up. Redis
        keeps the compiled script either way, and it is asked for only a few times a second."""
        try:
            return await self._redis.eval(script, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            reason = type(error).__name__
            raise OutOfReach(f"the pace cannot be asked for: the broker does not answer ({reason})") from None

    async def _read_clock(self) -> None:
        """A first answer comes over a connection that had to be made: one that is 40 ms late would put this worker's
        calls 20 ms beside everybody else's."""
        self._sharpness = float("inf")
        for _ in range(READINGS):
            asked = self._monotonic()
            now = int(await self._ask(TIME))
            self._compare_clocks(now / SECOND, asked, self._monotonic())

    def _compare_clocks(self, redis_now: float, asked: float, answered: float) -> None:
        """Keep the reading with the shortest round trip: a slow answer says little about when the script ran. One that
        this answer refutes (Redis moved, or its clock was set) is dropped."""
        round_trip = answered - asked
        refuted = not asked - redis_now - SPARE <= self._offset <= answered - redis_now + SPARE
        if refuted or round_trip <= self._sharpness:
            self._offset = (asked + answered) / 2 - redis_now
            self._sharpness, self._read_at = round_trip, answered


def _asking(
    what: str, line: str, calls_per_second: float, wants: Sequence[Want], corrections: Sequence[Correction] = ()
) -> tuple[list[str], list[int | str]]:
    """The script's keys and arguments."""
    books = PREFIX + line
    keys = [books, *(f"{books}:{name}" for name in ("noted", "spacing", *(want.key for want in wants)))]
    apart = spacing(calls_per_second)
    told = " ".join(f"{mark} {-1 if late is None else late}" for mark, late in corrections)
    arguments: list[int | str] = [what, round(HORIZON * SECOND), KEPT_FOR, LATEST]
    arguments += [apart.opening, apart.step, apart.quick, apart.most, apart.late, told, len(wants)]
    for want in wants:
        arguments += [want.count, spacing(want.limit).step if want.limit else 0]
    return keys, arguments
