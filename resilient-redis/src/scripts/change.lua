-- Changes the record KEYS[1] if it is claimed by the owner.
-- ARGV: request, resent, change, owner, span, answer.
-- All times are microseconds. Returns {request, server time, status, detail}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end
local change, span = ARGV[3], tonumber(ARGV[5])
local resent = ARGV[2] == '1'

local r = redis.pcall('HMGET', KEYS[1], 'format', 'owner', 'until', 'over')
if r.err then
  if string.find(r.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return r
end
if not r[1] then
  if redis.call('EXISTS', KEYS[1]) == 1 then return reply('foreign') end
  -- The first copy of this request may have removed the record.
  local removes = change == 'abandon' or (change == 'complete' and span == 0)
  if not (resent and removes) then return reply('refused') end
  -- `WAIT` covers only what this connection has written, so the record is removed again. `DEL` of a key that does not exist
  -- writes nothing. As the first write it allows the next one at the memory limit.
  local same = redis.pcall('DEL', KEYS[1])
  if type(same) == 'table' and same.err then return same end
  redis.call('HSET', KEYS[1], 'format', '1')
  redis.call('DEL', KEYS[1])
  return reply('changed')
end
if r[1] ~= '1' then return reply('format', r[1]) end
local over, lease_end = tonumber(r[4]), tonumber(r[3])
if not (over and r[2]) then return reply('foreign') end
if over <= now or r[2] ~= ARGV[4] then return reply('refused') end
local is_done = redis.call('HEXISTS', KEYS[1], 'answer') == 1
if is_done then
  -- The first copy of this request stored the result.
  if not (resent and change == 'complete') then return reply('refused') end
  -- Written again for `WAIT`.
  local same = redis.pcall('PEXPIREAT', KEYS[1], number(math.ceil(over / 1000)))
  if type(same) == 'table' and same.err then return same end
  return reply('changed')
end
if not lease_end then return reply('foreign') end

if change == 'renew' then
  local later = math.max(now + span, lease_end)
  over = over + (later - lease_end)
  lease_end = later
elseif change == 'lose' then
  over = over - math.max(lease_end - now, 0)
  lease_end = math.min(lease_end, now)
elseif change == 'complete' then
  over = now + span
else
  over = now
end

-- The first write. If the server refuses it, nothing was changed. `DEL` and `PEXPIREAT` need no memory: they are also
-- allowed at the memory limit, and what follows them in the script is too. So a running call can store its result.
local written
if over <= now then
  written = redis.pcall('DEL', KEYS[1])
else
  written = redis.pcall('PEXPIREAT', KEYS[1], number(math.ceil(over / 1000)))
end
if type(written) == 'table' and written.err then return written end
if over > now then
  redis.call('HSET', KEYS[1], 'over', number(over), 'until', number(lease_end))
  if change == 'complete' then redis.call('HSET', KEYS[1], 'answer', ARGV[6]) end
end
return reply('changed')
