-- Counts failed logins of the key KEYS[1], a string: 'RL1', the number of failures in thousandths, the time at which it had
-- that many, the time until which it is locked, and the time of the last success. 0 means never.
-- ARGV: request, resent, operation, limit, first lock, longest lock, half-life, known for, number.
-- The operation is 'check', 'count', 'judge' (counts unless it is locked), 'forgive' or 'subtract' (the number, in thousandths).
-- All times are microseconds. Returns {request, server time, status, "locked for, known, failures"}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end
local operation, limit, first, longest = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local half_life, known_for = tonumber(ARGV[7]), tonumber(ARGV[8])

local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' and value.err then
  if string.find(value.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return value
end
local count, last, locked, known = 0, now, 0, 0
if value then
  local form, rest = string.match(value, '^RL(%d)(.*)$')
  if not form then return reply('foreign') end
  if form ~= '1' then return reply('format') end
  local c, l, u, k = string.match(rest, '^ (%d+) (%d+) (%d+) (%d+)$')
  if not c then return reply('foreign') end
  count, last, locked, known = tonumber(c), tonumber(l), tonumber(u), tonumber(k)
  -- If the clock has stepped back, a lock lasts as long as it would have, and a success was now at the latest.
  if last > now then locked = math.max(0, locked - (last - now)) end
  known = math.min(known, now)
end
local gone = math.max(0, now - last)
if gone > half_life then count = 0 else count = count * 2 ^ (-gone / half_life) end

local is_known = known > 0 and now - known <= known_for
local left = math.max(0, locked - now)
local function state() return number(left) .. ' ' .. (is_known and '1' or '0') .. ' ' .. number(math.ceil(count)) end
if operation == 'check' or (operation == 'judge' and left > 0) then return reply('state', state()) end

local before = count
if operation == 'count' or operation == 'judge' then
  -- A second copy of this request counts once more, which locks earlier and never later.
  count = count + 1000
  local further = math.floor(count / 1000 + 0.5) - limit
  if further >= 0 then
    locked = now + math.min(first * 2 ^ math.min(further, 20), math.max(first, longest))
  end
  before, left = count, 0
elseif operation == 'forgive' then
  count, locked, known, is_known = 0, 0, now, true
elseif operation == 'subtract' then
  count = math.max(0, count - ARGV[9])
  if math.floor(count / 1000 + 0.5) < limit then locked = 0 end
else
  return reply('foreign')
end

local over = locked - now
if count > 0 then over = math.max(over, half_life) end
if known > 0 then over = math.max(over, known + known_for - now) end
local written
if over > 0 then
  local text = 'RL1 ' .. number(math.ceil(count)) .. ' ' .. number(now) .. ' ' .. number(locked) .. ' ' .. number(known)
  written = redis.pcall('SET', KEYS[1], text, 'PX', number(math.ceil(over / 1000)))
else
  written = redis.pcall('DEL', KEYS[1])
end
if type(written) == 'table' and written.err then return written end
count = before
return reply('state', state())
