"""The Lua scripts of `redis_limits.py`, which apply the rules of `limits.py`, and their keys:

    {prefix}rate:{digest}   string: the arrival time, in microseconds since 2026-01-01
    {prefix}slots:{digest}  sorted set: the name of each held slot, scored by its expiry
    {prefix}limits:probe    string: written to prove that Redis takes writes

Times count from 2026, because Lua has doubles only: so close to zero they still hold fractions of
a microsecond. Rounding lets less than a hundredth of one request pass.
"""

from streamapi.redis_connection import Script

_COMMON = """
local prefix, given_now = ARGV[1], ARGV[3]
local call = redis.call
local now = tonumber(given_now)
if not now then
  local t = call('TIME')
  now = (t[1] - 1767225600) * 1000000 + t[2]
end
local function rate(id) return prefix .. 'rate:' .. id end
local function slots(id) return prefix .. 'slots:' .. id end
local function keep(id, arrival)
  if arrival <= now then call('DEL', rate(id)) return end
  local ms = math.ceil((arrival - now) / 1000) + 1000
  call('SET', rate(id), string.format('%.3f', arrival), 'PX', string.format('%.0f', ms))
end
local function arrival_of(id) return math.max(tonumber(call('GET', rate(id)) or now), now) end
"""


def _script(body: str, common: str = _COMMON) -> Script:
    return Script.of(common + body)


TAKE = _script("""
-- in: now (empty: the clock of Redis), lease in ms; for each want its digest, count, period (0: a
--     slot), cost, name
-- out: for each want whether it is allowed, what remains, retry-after, reset
local reply, all, after = {}, true, {}
for i = 5, #ARGV, 5 do
  local id, count, period = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if period == 0 then
    call('ZREMRANGEBYSCORE', slots(id), '-inf', now)
    local left = count - call('ZCARD', slots(id))
    local ok = left > 0
    all = all and ok
    for _, it in ipairs({ok and 1 or 0, math.max(0, left - 1), '0', '0'}) do
      reply[#reply + 1] = it
    end
  else
    local interval = period / count
    local before = arrival_of(id)
    local ahead = before + ARGV[i + 3] * interval - now
    local ok = ahead <= period + interval / 100
    all = all and ok
    after[i] = now + ahead
    local reset = ok and ahead or before - now
    local left = math.floor(math.max(0, period - reset) / interval + 0.01)
    local wait = ok and 0 or ahead - period
    for _, it in ipairs({ok and 1 or 0, left, string.format('%.3f', wait),
                         string.format('%.3f', reset)}) do
      reply[#reply + 1] = it
    end
  end
end
if all then
  for i = 5, #ARGV, 5 do
    if after[i] then
      keep(ARGV[i], after[i])
    else
      call('ZADD', slots(ARGV[i]), now + ARGV[4] * 1000, ARGV[i + 4])
      call('PEXPIRE', slots(ARGV[i]), ARGV[4])
    end
  end
end
return reply
""")

SETTLE = _script("""
-- in: now (empty: the clock of Redis), digest, count, period, difference
keep(ARGV[4], arrival_of(ARGV[4]) + ARGV[7] * ARGV[6] / ARGV[5])
""")

HOLD = _script("""
-- in: now (empty: the clock of Redis), lease in ms; for each slot its digest, name
call('SET', prefix .. 'limits:probe', '1', 'PX', ARGV[4])
for i = 5, #ARGV, 2 do
  call('ZADD', slots(ARGV[i]), now + ARGV[4] * 1000, ARGV[i + 1])
  call('PEXPIRE', slots(ARGV[i]), ARGV[4])
end
""")

RELEASE = _script(
    """
-- in: digest, name
redis.call('ZREM', ARGV[1] .. 'slots:' .. ARGV[3], ARGV[4])
""",
    "",
)

SCRIPTS = (TAKE, SETTLE, HOLD, RELEASE)
