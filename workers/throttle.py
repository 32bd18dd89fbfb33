"""Pace shared by every worker of a line: start times given out by one script in Redis, by Redis's own clock.

The script is the twin of :func:`campaign.policies.reserving.reserve`, which says what it does and why; a test holds
them to the same answers. A bucket is the next free time of the line, or of a group with a pace of its own. One that is
missing (a new line, a flush) starts so far ahead that every start time that a lost bucket had given out is over, so
losing Redis costs a pause and never a burst. So does one that lies further ahead than any start time given out can have
left it (Redis's clock was set back).
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

# KEYS, three per row of the books, that of the line and then one per want (used where it has a pace of its own): the
# bucket; the noted start times, each by the latest moment at which its call may have left; the spacing (the first start
# time since it was idle; step, quick step, most and lateness, as last taken by). Then the noted start times of groups
# that are told of.
# ARGV: 'look' or 'take', horizon, ttl, how late a call may be at most, the corrections as one text (start time; how
# late its call left, -1: unused; which of KEYS notes it beside the line, 0: none), the number of wants; then for the
# line and for each want how many it wants (the line: 0) and its opening, step (0: no pace of its own), quick step, most
# in a second and lateness of calls not told of; all in microseconds.
# Answers, as one text (a list's items cost more to read than a start time to give), the time now, how long to wait (-1:
# everything given), the number of start times, and pairs of (index of the want, start time).
#
# A look takes nothing, and goes by the spacing last taken by: who looks learns the line's limit only by claiming.
# Before a line's books are opened it says that there is one start time, since asking for one opens them.
SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local taken, horizon, ttl, latest = ARGV[1] == 'take', tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local finish, groups = now + horizon, tonumber(ARGV[6])
local function text(number) return string.format('%.0f', number) end
local function argument(row, n) return tonumber(ARGV[6 + 6 * row + n]) end

local function correct(noted, mark, told)
  if told == '-1' then
    redis.call('ZREM', noted, mark)
  else
    redis.call('ZADD', noted, 'XX', text(tonumber(mark) + tonumber(told)), mark)
  end
end
for mark, told, own in string.gmatch(ARGV[5], '(%d+) (-?%d+) (%d+)') do
  correct(KEYS[2], mark, told)
  if own ~= '0' then correct(KEYS[tonumber(own)], mark, told) end
end

-- rows of the books: of the line (0), and of the groups that have a pace of their own
local function opened(n)
  local opening = argument(n, 2)
  local row = {bucket = KEYS[3 * n + 1], noted = KEYS[3 * n + 2], spacing = KEYS[3 * n + 3], times = {}, count = 0,
    step = argument(n, 3), quick = argument(n, 4), most = argument(n, 5), late = argument(n, 6)}
  local free, last = redis.call('GET', row.bucket), redis.call('ZRANGE', row.noted, -1, -1, 'WITHSCORES')[2]
  if not free or (last and tonumber(last) > finish + latest) then
    row.lost, row.at = true, now + opening
    if taken then redis.call('DEL', row.noted, row.spacing) end
    return row
  end
  row.at = math.max(now, math.min(tonumber(free), now + (last and horizon or opening) + row.step))
  local kept = {}
  for number in string.gmatch(redis.call('GET', row.spacing) or '', '%d+') do kept[#kept + 1] = tonumber(number) end
  if kept[1] and not taken then row.step, row.quick, row.most, row.late = kept[2], kept[3], kept[4], kept[5] end
  redis.call('ZREMRANGEBYSCORE', row.noted, '-inf', text(now - 1000000))
  row.count = redis.call('ZCARD', row.noted)
  if row.count > 0 then row.since = kept[1] end
  return row
end

-- in order of time, a second after the latest of the last ones at least
local function know(row, wanted)
  row.from = math.max(0, row.count - row.most)
  local to = row.count - row.most + wanted
  row.known = to >= 0 and redis.call('ZRANGE', row.noted, row.from, to, 'WITHSCORES') or {}
end
local function first(row)
  local rank = row.count + #row.times - row.most
  if rank < 0 then return row.at end
  if rank < row.count then return math.max(row.at, tonumber(row.known[2 * (rank - row.from) + 2]) + 1000000) end
  return math.max(row.at, row.times[rank - row.count + 1] + row.late + 1000000)
end
local function give(row, slot)
  row.since = row.since or slot
  row.at = slot + row.step
  if slot >= row.since + 1000000 then row.at = slot + row.quick end
  row.times[#row.times + 1] = slot
end
local function close(row)
  redis.call('SET', row.bucket, text(row.at), 'EX', ttl)
  if row.since then
    local spacing = {text(row.since), text(row.step), text(row.quick), text(row.most), text(row.late)}
    redis.call('SET', row.spacing, table.concat(spacing, ' '), 'EX', ttl)
  end
  for _, slot in ipairs(row.times) do redis.call('ZADD', row.noted, text(slot + row.late), text(slot)) end
  redis.call('EXPIRE', row.noted, ttl)
end

local line = opened(0)
if line.lost and not taken then return text(now) .. ' ' .. text(line.at - finish) .. ' 1' end
local rows, ready, left, total = {}, {}, {}, 0
for i = 1, groups do
  left[i], ready[i] = argument(i, 1), now
  total = total + left[i]
  if argument(i, 3) > 0 then
    rows[i] = opened(i)
    know(rows[i], left[i])
    ready[i] = first(rows[i])
  end
end
know(line, total)
local function next_group()
  local best = nil
  for i = 1, groups do
    if left[i] > 0 and (best == nil or ready[i] < ready[best]) then best = i end
  end
  return best
end
local given = {}
while total > 0 do
  local group = next_group()
  local slot = math.max(first(line), ready[group])
  if slot >= finish then break end
  give(line, slot)
  given[#given + 1] = group - 1
  given[#given + 1] = text(slot)
  left[group] = left[group] - 1
  total = total - 1
  ready[group] = slot
  if rows[group] then
    give(rows[group], slot)
    ready[group] = first(rows[group])
  end
end
local wait = -1
for i = 1, groups do
  if left[i] > 0 then
    local when = math.max(first(line), ready[i]) - finish
    if wait < 0 or when < wait then wait = math.max(when, 0) end
  end
end

local answer = text(now) .. ' ' .. text(wait) .. ' ' .. #line.times
if not taken then return answer end
close(line)
for i = 1, groups do
  if rows[i] then close(rows[i]) end
end
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
        starts = tuple(
            StartTime(int(want), at / SECOND + self._offset, int(at), wants[int(want)].own) for want, at in pairs
        )
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
    owns = sorted({one.own for one in corrections if one.own is not None})
    keys = [name for row in (books, *(f"{books}:{want.key}" for want in wants)) for name in _row(row)]
    told_of: dict[str | None, int] = {None: 0, **{own: len(keys) + n for n, own in enumerate(owns, 1)}}
    told = " ".join(f"{mark} {-1 if late is None else late} {told_of[own]}" for mark, late, own in corrections)
    arguments: list[int | str] = [what, round(HORIZON * SECOND), KEPT_FOR, LATEST, told, len(wants)]
    arguments += [0, *_apart(calls_per_second)]
    for want in wants:
        arguments += [want.count, *_apart(want.limit)]
    return [*keys, *(_row(f"{books}:{own}")[1] for own in owns)], arguments


def _row(name: str) -> tuple[str, str, str]:
    """Its bucket, its noted start times, its spacing."""
    return name, f"{name}:noted", f"{name}:spacing"


def _apart(limit: float | None) -> tuple[int, ...]:
    if limit is None:
        return (0,) * 5
    apart = spacing(limit)
    return apart.opening, apart.step, apart.quick, apart.most, apart.late
