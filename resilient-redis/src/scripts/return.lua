-- Returns tokens of the limit KEYS[1].
-- ARGV: request, resent, rule, interval, burst, window, tokens, mark. See `take.lua`.
-- Returns {request, server time, status, ""}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function reply(status) return {ARGV[1], now, status, ''} end

-- The first copy of this request may have returned the tokens. They must not be returned twice.
if ARGV[2] == '1' then return reply('returned') end
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' and stored.err then
  if string.find(stored.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return stored
end
if not stored then return reply('returned') end
local interval, burst, window = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local tokens, mark = tonumber(ARGV[7]), tonumber(ARGV[8])
local state, span
if window == 0 then
  local seconds, micros, owed, of = string.match(stored, '^1:(%d+):(%d+):(%d+):(b:.*)$')
  if not of or string.match(of, '^b:(%d+):') ~= ARGV[4] then return reply('returned') end
  local debt = math.max(0, owed - (now - (seconds * 1000000 + micros)) * 1000)
  local cost = tokens * interval
  local due = (mark - now) * 1000 + cost
  -- Later turns are promised: the turn of a next request would be beside one of them, and the returned one stays unused.
  if debt - burst * interval > math.max(0, mark - now) * 1000 + 1000 then return reply('returned') end
  -- Only the part of the tokens that was not refilled since.
  local returned = math.max(0, math.min(cost, due))
  span = debt - returned
  state = '1:' .. seconds .. ':' .. micros .. ':' .. string.format('%.0f', math.max(0, owed - returned)) .. ':' .. of
else
  local slot, list, of = string.match(stored, '^1:(%d+):([%d,]+):(w:.*)$')
  if not of or string.match(of, '^w:%d+:%d+:(%d+)$') ~= ARGV[6] then return reply('returned') end
  local counts = {}
  for count in string.gmatch(list, '%d+') do counts[#counts + 1] = tonumber(count) end
  local tenth = math.max(1, math.ceil(window / 10))
  local age = slot - math.floor(mark / tenth)
  if age < 0 or age > 10 or not counts[age + 1] then return reply('returned') end
  counts[age + 1] = math.max(0, counts[age + 1] - tokens)
  for index, count in ipairs(counts) do counts[index] = string.format('%.0f', count) end
  state = '1:' .. slot .. ':' .. table.concat(counts, ',') .. ':' .. of
  span = ((slot + 11) * tenth - now) * 1000
end
local written
if span > 0 then
  written = redis.pcall('SET', KEYS[1], state, 'PX', math.ceil(span / 1000000) + 1)
else
  written = redis.pcall('DEL', KEYS[1])
end
if type(written) == 'table' and written.err then return written end
return reply('returned')
