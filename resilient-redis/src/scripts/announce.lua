-- Announces an instance in KEYS[1], a sorted set of instances by the time at which their announcement ends.
-- ARGV: request, resent, instance, span. A span of 0 ends the announcement.
-- All times are microseconds. Returns {request, server time, status, number of instances}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end
local span = tonumber(ARGV[4])

-- The first write. If the server refuses it, nothing was changed.
local removed = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(now))
if type(removed) == 'table' and removed.err then
  if string.find(removed.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return removed
end
if span == 0 then
  redis.call('ZREM', KEYS[1], ARGV[3])
else
  local added = redis.pcall('ZADD', KEYS[1], number(now + span), ARGV[3])
  if type(added) == 'table' and added.err then return added end
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], number(math.ceil(last[2] / 1000))) end
return reply('counted', number(redis.call('ZCARD', KEYS[1])))
