-- Takes tokens of the limit KEYS[1].
-- ARGV: request, resent, deadline, kind, interval, burst, window, digest, tokens, at least, max wait.
-- The kind is `b` for a bucket and `w` for a window. The interval is in nanoseconds, other times in microseconds.
-- Returns {request, server time, status, "granted wait remaining reset mark other"}; `wait` and `reset` in nanoseconds.
--
-- A bucket is the time at which it is full again (GCRA), in microseconds and the nanoseconds beyond, its interval, and
-- the time at which its tokens were taken. A window is counts of tenths of it, the current one first. Only the state of a
-- limit that is not full is stored, until it is full again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end

-- The caller has given up. Nobody would use the tokens.
if now > tonumber(ARGV[3]) then return reply('late') end

local is_bucket, interval, burst = ARGV[4] == 'b', tonumber(ARGV[5]), tonumber(ARGV[6])
local tenth = math.max(1, math.ceil(ARGV[7] / 10))
local tokens, at_least, max_wait = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11] * 1000
local LATE = 60 * 1000000

local stored = redis.pcall('GET', KEYS[1])
if type(stored) == 'table' and stored.err then
  if string.find(stored.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return stored
end
-- The debt of a bucket in nanoseconds; the counts of a window and the number of their current tenth.
local debt, counts, slot, differs = 0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, math.floor(now / tenth), '0'
-- Whether the clock has stepped back. What was counted then counts from now on.
local has_stepped = false
if stored then
  local version, digest, kind, rest = string.match(stored, '^(%d+):(%x+):(%l):(.*)$')
  if not version then return reply('foreign') end
  if version ~= '1' then return reply('format', version) end
  if digest ~= ARGV[8] then differs = '1' end
  if kind == 'b' then
    local full, beyond, of, written = string.match(rest, '^(%d+):(%d+):(%d+):(%d+)$')
    if not full then return reply('foreign') end
    has_stepped = written - now > LATE
    debt = math.max(0, (full - (has_stepped and written or now)) * 1000 + beyond)
    -- Another rate keeps the number of tokens, and of the promised ones those that this request can wait for.
    of = tonumber(of)
    if of ~= interval and of > 0 then
      debt = math.ceil(debt / of * interval)
      if debt > burst * interval + max_wait + LATE * 1000 then debt = burst * interval end
    end
    if not is_bucket then
      counts[1] = math.min(burst, math.ceil(debt / interval))
    end
  elseif kind == 'w' then
    local of, last, list = string.match(rest, '^(%d+):(%d+):([%d,]+)$')
    if not of then return reply('foreign') end
    local old, sum = {}, 0
    for count in string.gmatch(list, '%d+') do
      old[#old + 1] = tonumber(count)
      sum = sum + count
    end
    of, last = tonumber(of), tonumber(last)
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
  else
    return reply('foreign')
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
    wait = math.max(0, debt - full)
    mark = now + math.floor(wait / 1000)
  end
  if granted > 0 or has_stepped then
    local micros = math.floor(debt / 1000)
    state = 'b:' .. number(now + micros) .. ':' .. number(debt - micros * 1000) .. ':' .. number(interval) .. ':' .. number(now)
  end
  remaining = math.max(0, math.floor((full - debt) / interval))
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
    state = 'w:' .. number(tenth) .. ':' .. number(slot) .. ':'
    for age = 0, 10 do state = state .. (age > 0 and ',' or '') .. number(counts[age + 1]) end
  end
  remaining = math.max(0, burst - sum)
  if sum > 0 then reset = until_free(sum) end
end

if state then
  local value = '1:' .. ARGV[8] .. ':' .. state
  local written = redis.pcall('SET', KEYS[1], value, 'PX', number(math.ceil(reset / 1000000) + 1))
  if type(written) == 'table' and written.err then return written end
end
return reply('taken', table.concat({number(granted), number(wait), number(remaining), number(reset), number(mark), differs}, ' '))
