-- Takes tokens of the limit KEYS[1].
-- ARGV: request, resent, deadline, rule, interval, burst, window, tokens, at least, max wait.
-- The rule is `b:interval:burst:0` of a bucket, whose window is 0, or `w:interval:burst:window`. The interval is in
-- nanoseconds, other times in microseconds.
-- Returns {request, server time, status, detail, granted, wait, remaining, reset, mark, other}; `wait` and `reset` in
-- nanoseconds.
--
-- A limit is `1:state:rule`. The state of a bucket is its debt: `seconds:microseconds:debt` (GCRA), the time at which tokens
-- were taken, and the nanoseconds from then until it is full again. The state of a window is `tenth:counts`: the number of
-- the current tenth, and the counts of its tenths, the current one first. Only the state of a limit that is not full is
-- stored, until it is full again.
--
-- Most requests are for a bucket whose rule is the stored one. Formatting a number is the most expensive step of this script,
-- so numbers are returned as they are.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- The caller has given up. Nobody would use the tokens.
if now > tonumber(ARGV[3]) then return {ARGV[1], now, 'late', ''} end

local rule, interval, burst, window = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local tokens, at_least, max_wait = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] * 1000
local LATE = 60 * 1000000

local stored = redis.pcall('GET', KEYS[1])
if stored and type(stored) ~= 'string' then
  if string.find(stored.err, 'WRONGTYPE', 1, true) then return {ARGV[1], now, 'foreign', ''} end
  return stored
end
local is_bucket, debt, other = window == 0, 0, 0
-- The counts of a window and the number of their current tenth.
local counts, slot, tenth
if not is_bucket then
  tenth = math.max(1, math.ceil(window / 10))
  slot = math.floor(now / tenth)
  counts = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
end
-- Whether the clock has stepped back. What was counted then counts from now on.
local has_stepped = false
if stored then
  local seconds, micros, owed, of = string.match(stored, '^1:(%d+):(%d+):(%d+):(b:.*)$')
  if of then
    local passed = now - (seconds * 1000000 + micros)
    has_stepped = passed < -LATE
    debt = has_stepped and tonumber(owed) or owed - passed * 1000
    if debt < 0 then debt = 0 end
    if of ~= rule then
      other = 1
      of = tonumber(string.match(of, '^b:(%d+):%d+:%d+$'))
      if not of then return {ARGV[1], now, 'foreign', ''} end
      -- Another rate keeps the number of tokens, and of the promised ones those that this request can wait for.
      if of ~= interval and of > 0 then
        debt = math.ceil(debt / of * interval)
        if debt > burst * interval + max_wait + LATE * 1000 then debt = burst * interval end
      end
      if not is_bucket then counts[1] = math.min(burst, math.ceil(debt / interval)) end
    end
  else
    local last, list, of = string.match(stored, '^1:(%d+):([%d,]+):(w:.*)$')
    if not of then
      local version = string.match(stored, '^(%d+):.*:%l:')
      if version and version ~= '1' then return {ARGV[1], now, 'format', version} end
      return {ARGV[1], now, 'foreign', ''}
    end
    if of ~= rule then other = 1 end
    of = tonumber(string.match(of, '^w:%d+:%d+:(%d+)$'))
    if not of then return {ARGV[1], now, 'foreign', ''} end
    local old, sum = {}, 0
    for count in string.gmatch(list, '%d+') do
      old[#old + 1] = tonumber(count)
      sum = sum + count
    end
    of, last = math.max(1, math.ceil(of / 10)), tonumber(last)
    if is_bucket then
      debt = math.min(burst, sum) * interval
    elseif of ~= tenth or last > slot + 11 + LATE / tenth then
      -- Another window, or a step of the clock.
      counts[1] = sum
      has_stepped = of == tenth
    else
      local passed = math.max(0, slot - last)
      slot = math.max(slot, last)
      for age = passed, 10 do counts[age + 1] = old[age - passed + 1] or 0 end
    end
  end
end

local granted, wait, remaining, reset, mark, state = 0, 0, 0, 0, now, nil
if is_bucket then
  local full = burst * interval
  granted = math.min(tokens, burst, math.max(0, math.floor((full + max_wait - debt) / interval)))
  if granted < at_least then
    granted = 0
    wait = math.max(0, debt + at_least * interval - full)
  elseif granted > 0 then
    debt = debt + granted * interval
    if debt > full then
      wait = debt - full
      mark = now + math.floor(wait / 1000)
    end
  end
  if granted > 0 or has_stepped then
    state = time[1] .. ':' .. time[2] .. ':' .. string.format('%.0f', debt)
  end
  if debt < full then remaining = math.floor((full - debt) / interval) end
  reset = debt
else
  local sum = 0
  for _, count in ipairs(counts) do sum = sum + count end
  -- The nanoseconds until so many tokens are forgotten.
  local function until_free(needed)
    local freed = 0
    for age = 10, 0, -1 do
      freed = freed + counts[age + 1]
      if freed >= needed then return math.max(1, (slot - age + 11) * tenth - now) * 1000 end
    end
    return tenth * 11000
  end
  granted = math.min(tokens, math.max(0, burst - sum))
  mark = slot * tenth
  if granted < at_least then
    granted = 0
    wait = until_free(sum + math.min(at_least, burst) - burst)
  elseif granted > 0 then
    counts[1] = counts[1] + granted
    sum = sum + granted
  end
  if granted > 0 or has_stepped then
    for age = 1, 11 do counts[age] = string.format('%.0f', counts[age]) end
    state = string.format('%.0f', slot) .. ':' .. table.concat(counts, ',')
  end
  remaining = math.max(0, burst - sum)
  if sum > 0 then reset = until_free(sum) end
end

if state then
  local value = '1:' .. state .. ':' .. rule
  local written = redis.pcall('SET', KEYS[1], value, 'PX', math.ceil(reset / 1000000) + 1)
  if written.err then return written end
end
return {ARGV[1], now, 'taken', '', granted, wait, remaining, reset, mark, other}
