"""The scripts by which a Redis keeps the laws of `log.py`, and the keys that they use.

    {prefix}log:{log}       stream: one entry per log and tick, `n` its first position and `e` its
                            events; or the ending of a lost log, with the tail before it (`t`);
                            or the mark of a generation that let go (`g`, `n`, `w`)
    {prefix}meta:{log}      hash: tail, writer, ended (by which process), last, stop, format,
                            began (the generation that did), left:{gen}
    {prefix}holds:{log}     set: the generations that hold it
    {prefix}gen:{id}        hash: the generation's log, and the generation
    {prefix}claim:{name}    string: the generation that the name points at
    {prefix}readers:{gen}   hash: the processes in which someone reads it, or has just left
    {prefix}lease:{process} string: there while the process lives
    {prefix}inbox:{process} stream: what others ask of it

What must be decided in one step is one script: two round trips are a race. Scripts make their
keys from ids, so they run on one Redis or Valkey (or its replica that took over), not on a
Cluster. Each script sets the time to live of the keys that it makes. The first arguments of each
script are the prefix and the process that asks; times are in milliseconds.

Processes of two versions share these keys while a deployment is replaced. A log says in `format`
which version of entries, marks and inbox messages it needs; `FORMAT` is the newest that a process
knows. An older process cannot read a newer log: it answers `StoreUnavailable`, and the caller who
tries again reaches a newer process sooner or later. What an older version's *scripts* would
misread needs another kind of key instead.
"""

from streamapi.redis_connection import Script

_COMMON = """
local prefix, me = ARGV[1], ARGV[2]
local call = redis.call
local function key(kind, id) return prefix .. kind .. ':' .. id end
-- An inbox is read within a second; one of a process that died is bounded in length and in time.
local function send(process, kind, log, gen, data)
  local inbox = key('inbox', process)
  call('XADD', inbox, 'MAXLEN', '~', 10000, '*', 'k', kind, 'l', log, 'g', gen, 'd', data)
  call('PEXPIRE', inbox, 60000)
end
local function expire(log, ms, gen_ms)
  call('PEXPIRE', key('log', log), ms)
  call('PEXPIRE', key('meta', log), ms)
  call('PEXPIRE', key('holds', log), ms)
  for _, gen in ipairs(call('SMEMBERS', key('holds', log))) do
    call('PEXPIRE', key('gen', gen), gen_ms)
  end
end
local function began(log)
  local gen = call('HGET', key('meta', log), 'began')
  local is = gen and call('HGET', key('gen', gen), 'is')
  for _, other in ipairs(is and {} or call('SMEMBERS', key('holds', log))) do
    is = is or call('HGET', key('gen', other), 'is')
  end
  return is or ''
end
local function drop(log)
  return call('DEL', key('log', log), key('meta', log), key('holds', log))
end
local function let_go(log, gen)
  local writer = call('HGET', key('meta', log), 'writer')
  call('SREM', key('holds', log), gen)
  local left = call('SCARD', key('holds', log))
  if left == 0 then drop(log) end
  if writer and writer ~= me then send(writer, 'forget', log, gen, '') end
  return left
end
"""


def _script(body: str) -> Script:
    return Script.of(_COMMON + body)


APPEND = _script("""
-- Laws 1 and 2: at tail + 1 only, behind no ending, by the log's own writer. It is not enough to
-- refuse a used position: a stalled writer's *later* entries would land behind another's ending.
-- A mirror that begins brings the lease with it, or its log would be taken for an orphan's.
-- log, position, events, how many, the last one's type, whether it ends the log, time to live,
-- that of its generations, lease, format -> {1, tail} | {0, tail, who ended it, writer} | {-1}
local log, position = ARGV[3], tonumber(ARGV[4])
local meta = key('meta', log)
local m = call('HMGET', meta, 'tail', 'ended', 'writer')
if not m[1] and position ~= 1 then return {-1} end
local tail = tonumber(m[1] or 0)
if m[2] or position ~= tail + 1 or (m[1] and m[3] ~= me) then
  return {0, tail, m[2] or '', m[3] or ''}
end
tail = tail + tonumber(ARGV[6])
call('XADD', key('log', log), '*', 'n', position, 'e', ARGV[5])
call('HSET', meta, 'tail', tail, 'writer', me, 'last', ARGV[7])
if not m[1] then
  call('SET', key('lease', me), '1', 'PX', ARGV[11])
  call('HSET', meta, 'format', ARGV[12])
end
if ARGV[8] == '1' then call('HSET', meta, 'ended', me) end
if not m[1] or ARGV[8] == '1' then expire(log, ARGV[9], ARGV[10]) end
return {1, tail}
""")

LOST = _script("""
-- Law 3: a log without an ending whose writer has no lease any more gets one, once; and a writer
-- that knows of that ending gives it back to a Redis that has lost it. `t` is what comes before.
-- log, event, type, position, time to live, that of its generations
-- -> {1 ended by this call | 2 ended by this process before | 0, the generation that began it}
local log = ARGV[3]
local meta = key('meta', log)
local m = call('HMGET', meta, 'tail', 'ended', 'writer')
if m[2] == me then return {2, began(log)} end
if not m[1] or m[2] then return {0, ''} end
if m[3] ~= me and call('EXISTS', key('lease', m[3])) == 1 then return {0, ''} end
call('XADD', key('log', log), '*', 'n', ARGV[6], 't', m[1], 'e', ARGV[4])
call('HSET', meta, 'tail', ARGV[6], 'ended', me, 'last', ARGV[5])
expire(log, ARGV[7], ARGV[8])
return {1, began(log)}
""")

LOOK = _script("""
-- generation or nothing, logs...
-- -> {tail, ended, writer, has a lease, where it let go, format} of each
local found = {}
for i = 4, #ARGV do
  local m = call('HMGET', key('meta', ARGV[i]), 'tail', 'ended', 'writer', 'left:' .. ARGV[3],
    'format')
  if m[1] then
    local lease = call('EXISTS', key('lease', m[3]))
    found[i - 3] = {tonumber(m[1]), m[2] and 1 or 0, m[3], lease, tonumber(m[4] or 0),
      tonumber(m[5] or 0)}
  else
    found[i - 3] = {0}
  end
end
return found
""")

HOLD = _script("""
-- generation, log, itself, its time to live
-- -> {'ok', the log it held before, how many hold that still} | {'gone'} | {'stopping'}
local gen, log = ARGV[3], ARGV[4]
local meta = key('meta', log)
local m = call('HMGET', meta, 'tail', 'ended', 'writer', 'stop')
if not m[1] then return {'gone'} end
if m[4] and not m[2] then return {'stopping'} end
local before = call('HGET', key('gen', gen), 'log')
call('SADD', key('holds', log), gen)
call('HSETNX', meta, 'began', gen)
call('PEXPIRE', key('holds', log), math.max(call('PTTL', meta), 1))
call('HSET', key('gen', gen), 'log', log, 'is', ARGV[5])
call('PEXPIRE', key('gen', gen), ARGV[6])
local left = 1
if before and before ~= log then left = let_go(before, gen) end
if m[3] ~= me then send(m[3], 'hold', log, gen, ARGV[5]) end
return {'ok', before or '', left}
""")

RELEASE = _script("""
-- The last hold that goes stops the log. A generation that lets go before gets an ending where the
-- log stands. Only the writer knows where that is: its log runs ahead of Redis.
-- generation, log, why -> 3 it is read in another process, 2 others hold it, 1 it was the last,
-- 0 it did not hold, -1 gone
local gen, log, why = ARGV[3], ARGV[4], ARGV[5]
local meta = key('meta', log)
local m = call('HMGET', meta, 'tail', 'ended', 'writer')
if not m[1] then return -1 end
if why == 'disconnect' then
  call('HDEL', key('readers', gen), me)
  for _, process in ipairs(call('HKEYS', key('readers', gen))) do
    if call('EXISTS', key('lease', process)) == 1 then return 3 end
  end
end
if m[2] or call('SREM', key('holds', log), gen) == 0 then return 0 end
if call('EXISTS', key('holds', log)) == 0 then
  call('HSET', meta, 'stop', why)
  if m[3] ~= me then send(m[3], 'stop', log, gen, why) end
  return 1
end
if m[3] ~= me and why ~= 'shutdown' then send(m[3], 'release', log, gen, why) end
return 2
""")

ARRIVE = _script("""
-- generation, time to live: it is read in this process, until this process releases it
call('HSET', key('readers', ARGV[3]), me, '1')
call('PEXPIRE', key('readers', ARGV[3]), ARGV[4])
""")

LEFT = _script("""
-- log, generation, position of its ending, why: the writer says it to all followers
local meta = key('meta', ARGV[3])
if call('EXISTS', meta) == 0 then return 0 end
call('XADD', key('log', ARGV[3]), '*', 'g', ARGV[4], 'n', ARGV[5], 'w', ARGV[6])
call('HSET', meta, 'left:' .. ARGV[4], ARGV[5])
return 1
""")

STOP = _script("""
-- log, why
local meta = key('meta', ARGV[3])
local m = call('HMGET', meta, 'tail', 'ended', 'writer')
if not m[1] or m[2] then return 0 end
call('HSET', meta, 'stop', ARGV[4])
if m[3] ~= me then send(m[3], 'stop', ARGV[3], '', ARGV[4]) end
return 1
""")

FORGET = _script("""
-- generation, log -> how many hold the log still
local left = let_go(ARGV[4], ARGV[3])
call('DEL', key('gen', ARGV[3]))
return left
""")

CLAIM = _script("""
-- Law 4: compare-and-set, and never a name that points at nothing.
-- name, generation, time to live, the generation that it replaces
-- -> the generation that the name points at | nothing: the log of this one is not known
local name = key('claim', ARGV[3])
local now = call('GET', name)
if now and now ~= ARGV[6] and call('EXISTS', key('gen', now)) == 1 then return now end
local log = call('HGET', key('gen', ARGV[4]), 'log')
if not log or call('EXISTS', key('meta', log)) == 0 then return '' end
call('SET', name, ARGV[4], 'PX', ARGV[5])
return ARGV[4]
""")

CLAIMED = _script("""
-- name -> the generation that it points at, or nothing
local now = call('GET', key('claim', ARGV[3]))
return now and call('EXISTS', key('gen', now)) == 1 and now or ''
""")

FIND = _script("""return call('HGET', key('gen', ARGV[3]), 'is')""")

DROP = _script("""
-- logs of ours that this process has forgotten
for i = 3, #ARGV do
  if call('HGET', key('meta', ARGV[i]), 'writer') == me then drop(ARGV[i]) end
end
""")

RENEW = _script("""
-- lease, time to live, that of generations, running logs of ours... -> those that are gone
call('SET', key('lease', me), '1', 'PX', ARGV[3])
local gone = {}
for i = 6, #ARGV do
  local left = call('PTTL', key('meta', ARGV[i]))
  if left == -2 then
    gone[#gone + 1] = ARGV[i]
  elseif left < ARGV[4] / 2 then
    expire(ARGV[i], ARGV[4], ARGV[5])
  end
end
return gone
""")

WAKE = _script("""send(me, 'wake', '', '', '')""")

GIVE_LEASE_BACK = _script("""call('DEL', key('lease', me), key('inbox', me))""")

PAGE = _script("""
-- log, behind which entry, how many -> entries
return call('XRANGE', key('log', ARGV[3]), '(' .. ARGV[4], '+', 'COUNT', ARGV[5])
""")

SCRIPTS = (ARRIVE, APPEND, LOST, LOOK, HOLD, RELEASE, LEFT, STOP, FORGET, CLAIM, CLAIMED, FIND,
           DROP, RENEW, WAKE, GIVE_LEASE_BACK, PAGE)  # fmt: skip
