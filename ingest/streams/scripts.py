"""What the server does in one step, in its Lua.

Keys, all in one slot of a cluster: ``{vigie}:log`` (hash: id, partitions, next, receipt_ms, marked_ms, and by
partition first:K, at:K, token:K), ``{vigie}:marks``, ``{vigie}:p:K`` (the streams), ``{vigie}:lease:K``.

An entry's id in its stream is ``OFFSET-1``: the offset counts the entries of all partitions, in the order in which
they came. A mark says when the log was heard: its id is ``MS-1``, its field ``o`` the next offset at that time. There
is one a second where something came, and one on both sides of every silence of more than a second, so that each reader
sees the same silences, whichever partitions it reads.
"""

__all__ = ["APPEND", "COMMIT", "CREATE", "KEEP", "LEAVE", "RELEASE", "TAKE", "TRIM"]

CREATE = """
-- KEYS: log, marks, streams...   ARGV: id, partitions
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'format', 1, 'id', ARGV[1], 'partitions', ARGV[2], 'next', 0, 'receipt_ms', 0,
             'marked_ms', -1)
  for k = 3, #KEYS do
    redis.call('XGROUP', 'CREATE', KEYS[k], 'vigie', '0', 'MKSTREAM')
  end
end
return redis.call('HMGET', KEYS[1], 'format', 'id', 'partitions')
"""

APPEND = """
-- KEYS: log, marks, streams...   ARGV: id, then for each entry: partition (-1: only a sign of life), receipt, source,
-- body, crc. Returns the first offset and the next.
local held = redis.call('HMGET', KEYS[1], 'id', 'next', 'receipt_ms', 'marked_ms')
if held[1] ~= ARGV[1] then
  return redis.error_reply('VIGIE another log is at this address: the one that was opened is gone')
end
local first, last, marked = tonumber(held[2]), tonumber(held[3]), tonumber(held[4])
local at = first
local function mark(ms)
  redis.call('XADD', KEYS[2], string.format('%.0f-1', ms), 'o', string.format('%.0f', at))
  marked = ms
end
for i = 2, #ARGV, 5 do
  local partition = tonumber(ARGV[i])
  local ms = math.max(tonumber(ARGV[i + 1]), last)
  if ms - last > 1000 and last > marked and last > 0 then mark(last) end
  if ms - marked >= 1000 then mark(ms) end
  last = ms
  if partition >= 0 then
    redis.call('XADD', KEYS[3 + partition], string.format('%.0f-1', at), 'r', string.format('%.0f', ms),
               's', ARGV[i + 2], 'b', ARGV[i + 3], 'c', ARGV[i + 4])
    at = at + 1
  end
end
redis.call('HSET', KEYS[1], 'next', string.format('%.0f', at), 'receipt_ms', string.format('%.0f', last),
           'marked_ms', string.format('%.0f', marked))
return {string.format('%.0f', first), string.format('%.0f', at)}
"""

TAKE = """
-- KEYS: log, lease   ARGV: id, shard, who, milliseconds. Returns the token, or who has it.
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then
  return redis.error_reply('VIGIE another log is at this address: the one that was opened is gone')
end
local held = redis.call('GET', KEYS[2])
if held then return held end
local token = redis.call('HINCRBY', KEYS[1], 'token:' .. ARGV[2], 1)
redis.call('SET', KEYS[2], token .. ' ' .. ARGV[3], 'PX', ARGV[4])
return token
"""

KEEP = """
-- KEYS: log, lease   ARGV: shard, token, milliseconds, where the line is or ''. Returns whether it is still ours.
local held = redis.call('GET', KEYS[2])
if not held or string.match(held, '^%d+') ~= ARGV[2] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'at:' .. ARGV[1], ARGV[4]) end
return 1
"""

LEAVE = """
-- KEYS: lease   ARGV: token
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

RELEASE = """
-- KEYS: lease   ARGV: who. Removes the lease of somebody who is known to be gone.
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+ (.*)$') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

COMMIT = """
-- KEYS: lease, stream   ARGV: token, offset. What is before the offset is in a checkpoint: acknowledge it.
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%d+') ~= ARGV[1] then return 0 end
local offset = tonumber(ARGV[2])
if offset > 0 then
  redis.call('XGROUP', 'SETID', KEYS[2], 'vigie', string.format('%.0f-1', offset - 1))
end
return 1
"""

TRIM = """
-- KEYS: log, marks, stream   ARGV: shard, offset, partitions. Returns how many entries went.
local name = 'first:' .. ARGV[1]
local offset = tonumber(ARGV[2])
if offset <= tonumber(redis.call('HGET', KEYS[1], name) or '0') then return 0 end
local gone = redis.call('XTRIM', KEYS[3], 'MINID', ARGV[2] .. '-0')
redis.call('HSET', KEYS[1], name, ARGV[2])
-- Marks that no partition needs: all but the last one before the oldest offset that any has.
local oldest = offset
for k = 0, tonumber(ARGV[3]) - 1 do
  oldest = math.min(oldest, tonumber(redis.call('HGET', KEYS[1], 'first:' .. k) or '0'))
end
for _ = 1, 100 do
  local some = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 500)
  local last = 0
  for i = 2, #some do
    if tonumber(some[i][2][2]) <= oldest then last = i - 1 else break end
  end
  if last == 0 then break end
  redis.call('XTRIM', KEYS[2], 'MINID', some[last + 1][1])
  if last < #some - 1 then break end
end
return gone
"""
