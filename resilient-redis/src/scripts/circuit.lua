-- Reports the state of an instance to the circuit KEYS[1], or resets the circuit.
-- ARGV: request, resent, channel, circuit, `report` or `reset`; for a report then: instance, epoch, open, lasts, request
-- (`none`, `idle`, `waiting`), probe (``, `0`, `1`), least votes, share in millionths, open_for, open_max,
-- max_shared_open, probes.
-- All times are microseconds. Returns {request, server time, status, answer}.
-- The field `m:INSTANCE` is an instance: the time of its last report, how long it lasts, the time of its first report,
-- whether it votes, whether its probe failed in this half-open period, and its settings. The field `s:INSTANCE` is a probe
-- slot: the time of the last request, how long it lasts, and whether the slot is idle.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end

local all = redis.pcall('HGETALL', KEYS[1])
if all.err then
  if string.find(all.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return all
end
local r, members, slots, gone, changed, moved = {}, {}, {}, {}, {}, {}
for i = 1, #all, 2 do
  local kind, id = string.match(all[i], '^([ms]):(%x+)$')
  if kind then
    local entry, of
    if kind == 'm' then
      local at, lasts, joined, votes, failed, rule =
        string.match(all[i + 1], '^(%d+):(%d+):(%d+):([01])([01]):([%d,]*)$')
      if not at then return reply('foreign') end
      of = members
      entry = {at = tonumber(at), lasts = tonumber(lasts), joined = tonumber(joined), votes = votes == '1',
        failed = failed == '1', rule = rule}
      entry.joined = math.min(entry.joined, now)
    else
      local at, lasts, idle = string.match(all[i + 1], '^(%d+):(%d+):([01])$')
      if not at then return reply('foreign') end
      of = slots
      entry = {at = tonumber(at), lasts = tonumber(lasts), idle = idle == '1'}
    end
    -- The clock of this server can be behind that of the last one.
    if entry.at > now then
      entry.at = now
      local list = kind == 'm' and changed or moved
      list[#list + 1] = id
    end
    if entry.at + entry.lasts > now then of[id] = entry else gone[#gone + 1] = all[i] end
  else
    r[all[i]] = all[i + 1]
  end
end
if #all > 0 then
  if r.format and r.format ~= '1' then return reply('format', r.format) end
  if r.format ~= '1' then return reply('foreign') end
else
  r = {state = 'closed', epoch = now, closed = now, ended = 'lapsed', since = now, ends = now, renewed = now,
    reopened = 0, good = 0, bad = 0}
end
for _, name in ipairs({'epoch', 'closed', 'since', 'ends', 'renewed', 'reopened', 'good', 'bad'}) do
  r[name] = tonumber(r[name])
  if not r[name] then return reply('foreign') end
end
if not (r.state and r.ended) then return reply('foreign') end
r.since, r.renewed = math.min(r.since, now), math.min(r.renewed, now)

local first = r.epoch
local function count(of)
  local found = 0
  for _ in pairs(of) do found = found + 1 end
  return found
end
-- The instances that vote, and have reported since the last of them joined.
local function voters()
  local joined, found = 0, 0
  for _, member in pairs(members) do
    if member.votes then joined = math.max(joined, member.joined) end
  end
  for _, member in pairs(members) do
    if member.votes and member.at >= joined then found = found + 1 end
  end
  return found
end
local function enter(state)
  r.state, r.epoch, r.since, r.good, r.bad = state, math.max(now, r.epoch + 1), now, 0, 0
  for id in pairs(slots) do gone[#gone + 1] = 's:' .. id end
  slots = {}
  for id, member in pairs(members) do
    if member.failed or (state == 'closed' and member.votes) then
      member.failed = false
      member.votes = member.votes and state ~= 'closed'
      changed[#changed + 1] = id
    end
  end
end
local function close(ended)
  enter('closed')
  r.closed, r.ended, r.reopened = r.epoch, ended, 0
end

local me, max_open, rule
if ARGV[5] == 'reset' then
  close('reset')
else
  me = ARGV[6]
  local epoch, open, lasts = tonumber(ARGV[7]), ARGV[8] == '1', tonumber(ARGV[9])
  local request, probe = ARGV[10], ARGV[11]
  local least, share, probes = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[17])
  local open_for, open_max = tonumber(ARGV[14]), tonumber(ARGV[15])
  max_open = tonumber(ARGV[16])
  rule = table.concat(ARGV, ',', 12, 17)
  local function opens()
    enter('open')
    r.ends = now + math.min(open_for * 2 ^ r.reopened, open_max, max_open)
  end
  r.ends = math.min(r.ends, now + math.min(open_max, max_open))

  if r.state ~= 'closed' and now >= r.renewed + max_open then
    close('lapsed')
  elseif r.state == 'open' and now >= r.ends then
    enter('half_open')
  end

  -- The result of a probe. The first copy of this request may have counted it.
  if probe ~= '' and ARGV[2] == '0' and r.state == 'half_open' and epoch == r.epoch and slots[me] then
    slots[me] = nil
    gone[#gone + 1] = 's:' .. me
    local is_alone = count(members) == 1
    if probe == '1' then
      r.good = r.good + 1
    else
      local member = members[me]
      if is_alone or not (member and member.failed) then r.bad = r.bad + 1 end
      if member then member.failed = true end
    end
    if r.good * 2 > probes then
      close('recovered')
    elseif r.bad * 2 >= probes and (is_alone or r.bad > 1) then
      r.reopened = r.reopened + 1
      opens()
    end
  end

  local member = members[me] or {joined = now, failed = false}
  member.at, member.lasts, member.rule = now, lasts, rule
  member.votes = open and epoch >= r.closed and epoch <= r.epoch
  members[me] = member
  changed[#changed + 1] = me
  local instances = count(members)
  local needed = math.max(least, math.ceil(instances * share / 1000000), 1)
  if instances > 1 and voters() >= needed then
    r.renewed = now
    if r.state == 'closed' then opens() end
  end

  if r.state == 'half_open' and request ~= 'none' then
    local idle = request == 'idle'
    local used = count(slots)
    -- If all results are known and do not decide, one more probe does.
    local gets = slots[me] or used == 0 or used + r.good + r.bad < probes
    if not gets and not idle then
      local other
      for id, slot in pairs(slots) do
        if slot.idle and (not other or id < other) then other = id end
      end
      if other then
        slots[other] = nil
        gone[#gone + 1] = 's:' .. other
        gets = true
      end
    end
    if gets then
      slots[me] = {at = now, lasts = lasts, idle = idle}
      moved[#moved + 1] = me
    end
  elseif slots[me] then
    slots[me] = nil
    gone[#gone + 1] = 's:' .. me
  end
end

-- The first write. If the server refuses it, nothing was changed.
local written = redis.pcall('HSET', KEYS[1], 'format', '1', 'circuit', ARGV[4], 'state', r.state, 'ended', r.ended,
  'epoch', number(r.epoch), 'closed', number(r.closed), 'since', number(r.since), 'ends', number(r.ends),
  'renewed', number(r.renewed), 'reopened', number(r.reopened), 'good', number(r.good), 'bad', number(r.bad))
if type(written) == 'table' and written.err then return written end
local over = now
for _, member in pairs(members) do over = math.max(over, member.at + member.lasts) end
if r.state ~= 'closed' and max_open then over = math.max(over, r.renewed + max_open) end
-- So that instances whose reports have ended still learn of a reset.
over = math.max(over, now + 60000000)
redis.call('PEXPIREAT', KEYS[1], number(math.ceil(over / 1000)))
for _, field in ipairs(gone) do redis.call('HDEL', KEYS[1], field) end
local function flag(is_set) return is_set and '1' or '0' end
for _, id in ipairs(changed) do
  local m = members[id]
  if m then
    redis.call('HSET', KEYS[1], 'm:' .. id, table.concat({number(m.at), number(m.lasts), number(m.joined),
      flag(m.votes) .. flag(m.failed), m.rule}, ':'))
  end
end
for _, id in ipairs(moved) do
  local slot = slots[id]
  if slot then
    redis.call('HSET', KEYS[1], 's:' .. id, table.concat({number(slot.at), number(slot.lasts), flag(slot.idle)}, ':'))
  end
end
-- Without the right to publish, the other instances learn of it when they report.
if r.epoch ~= first then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end

local mixed = 0
for _, member in pairs(members) do
  if me and member.rule ~= rule then mixed = 1 end
end
local left = r.state == 'open' and math.max(r.ends - now, 0) or 0
return reply('shared', table.concat({r.state, number(r.epoch), r.ended, voters(), count(members),
  number(math.max(now - r.since, 0)), number(left), me and slots[me] and 1 or 0, count(slots), number(r.good),
  number(r.bad), mixed}, ' '))
