-- Returns tokens of the limit KEYS[1].
-- ARGV: request, resent, kind, interval, burst, window, tokens, mark. See `take.lua`.
-- Returns {request, server time, status, ""}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status) return {ARGV[1], number(now), status, ''} end

-- The first copy of this request may have returned the tokens. They must not be returned twice.
if ARGV[2] == '1' then return reply('returned') end
local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' and stored.err then
  if string.find(stored.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return stored
end
if not stored then return reply('returned') end
local interval, burst, tokens, mark = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local state, span
local start, full, beyond, of, written = string.match(stored, '^(1:%x+:b:)(%d+):(%d+):(%d+):(%d+)$')
if start and ARGV[3] == 'b' and tonumber(of) == interval then
  local debt = math.max(0, (full - now) * 1000 + beyond)
  local cost = tokens * interval
  local due = (mark - now) * 1000 + cost
  -- Later turns are promised: the turn of a next request would be beside one of them, and the returned one stays unused.
  if debt - burst * interval > math.max(0, mark - now) * 1000 + 1000 then return reply('returned') end
  -- Only the part of the tokens that was not refilled since.
  span = debt - math.max(0, math.min(cost, due))
  if span > 0 then
    local micros = math.floor(span / 1000)
    state = start .. number(now + micros) .. ':' .. number(span - micros * 1000) .. ':' .. of .. ':' .. written
  end
elseif ARGV[3] == 'w' then
  local tenth, slot, list
  start, tenth, slot, list = string.match(stored, '^(1:%x+:w:)(%d+):(%d+):([%d,]+)$')
  if not start or tonumber(tenth) ~= math.max(1, math.ceil(ARGV[6] / 10)) then return reply('returned') end
  local counts = {}
  for count in string.gmatch(list, '%d+') do counts[#counts + 1] = tonumber(count) end
  local age = slot - math.floor(mark / tenth)
  if age < 0 or age > 10 or not counts[age + 1] then return reply('returned') end
  counts[age + 1] = math.max(0, counts[age + 1] - tokens)
  for index, count in ipairs(counts) do counts[index] = number(count) end
  state = start .. tenth .. ':' .. slot .. ':' .. table.concat(counts, ',')
  span = ((slot + 11) * tenth - now) * 1000
else
  return reply('returned')
end
local written
if state and span > 0 then
  written = redis.pcall('SET', KEYS[1], state, 'PX', number(math.ceil(span / 1000000) + 1))
else
  written = redis.pcall('DEL', KEYS[1])
end
if type(written) == 'table' and written.err then return written end
return reply('returned')
