-- Claims the record KEYS[1].
-- ARGV: request, resent, deadline, fingerprint, operation, owner, lease, lost_for, takes_over.
-- All times are microseconds. Returns {request, server time, status, detail}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end

-- The caller has given up. A claim that nobody knows of must not be made.
if now > tonumber(ARGV[3]) then return reply('late') end

local r = redis.pcall('HMGET', KEYS[1], 'format', 'fingerprint', 'operation', 'owner', 'until', 'over', 'answer')
if r.err then
  if string.find(r.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return r
end
if r[1] then
  if r[1] ~= '1' then return reply('format', r[1]) end
  local over, lease_end = tonumber(r[6]), tonumber(r[5])
  if not (over and r[2] and r[3] and r[4] and (r[7] or lease_end)) then return reply('foreign') end
  if over > now then
    if r[3] ~= '' and ARGV[5] ~= '' and r[3] ~= ARGV[5] then return reply('other', r[3]) end
    if r[2] ~= ARGV[4] then return reply('reused') end
    if r[7] then return reply('done', r[7]) end
    -- The first copy of this request was executed, but its response was lost.
    if ARGV[2] == '1' and r[4] == ARGV[6] then
      -- `WAIT` covers only what this connection has written, so the same value is written again.
      local same = redis.pcall('PEXPIREAT', KEYS[1], number(math.ceil(over / 1000)))
      if type(same) == 'table' and same.err then return same end
      return reply('acquired')
    end
    if lease_end > now then return reply('running', number(lease_end - now)) end
    if ARGV[9] ~= '1' then return reply('lost') end
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return reply('foreign')
end

local lease_end = now + ARGV[7]
local over = lease_end + ARGV[8]
-- The first write. If the server refuses it, nothing was changed.
local written = redis.pcall('HSET', KEYS[1], 'format', '1', 'fingerprint', ARGV[4], 'operation', ARGV[5],
  'owner', ARGV[6], 'until', number(lease_end), 'over', number(over))
if type(written) == 'table' and written.err then return written end
redis.call('HDEL', KEYS[1], 'answer')
redis.call('PEXPIREAT', KEYS[1], number(math.ceil(over / 1000)))
return reply('acquired')
