-- Reads, stores or removes a value of a cache in KEYS[1], a string: 'RC', the version of the form, the time at which it
-- was made in microseconds, a space, and the value.
-- ARGV: request, resent, 'get' or 'remove'; or request, resent, deadline, 'put', span in milliseconds, the age that the
-- value has at the deadline in microseconds, value.
-- Returns {request, server time, status, detail}. For 'get' the detail is the age in microseconds, a space, the value.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end

-- Whether another program has written the value, or the error of Redis.
local function foreign()
  local head = redis.pcall('GETRANGE', KEYS[1], 0, 1)
  if type(head) == 'table' then
    if string.find(head.err, 'WRONGTYPE', 1, true) then return true end
    return head
  end
  return head ~= '' and head ~= 'RC'
end

if ARGV[4] == 'put' or ARGV[3] == 'remove' then
  if ARGV[4] == 'put' and now > tonumber(ARGV[3]) then return reply('late') end
  local problem = foreign()
  if problem == true then return reply('foreign') elseif problem then return problem end
end

if ARGV[4] == 'put' then
  local made = math.max(0, math.min(now, tonumber(ARGV[3]) - tonumber(ARGV[6])))
  local stored = redis.pcall('SET', KEYS[1], 'RC1' .. number(made) .. ' ' .. ARGV[7], 'PX', ARGV[5])
  if type(stored) == 'table' and stored.err then return stored end
  return reply('stored')
end

if ARGV[3] == 'remove' then
  local removed = redis.pcall('DEL', KEYS[1])
  if type(removed) == 'table' then return removed end
  return reply(removed == 1 and 'removed' or 'absent')
end

local value = redis.pcall('GET', KEYS[1])
if not value then return reply('absent') end
if type(value) == 'table' then
  if string.find(value.err, 'WRONGTYPE', 1, true) then return reply('foreign') end
  return value
end
local form, made = string.match(value, '^RC(%d)(%d+) ')
if not form then return reply('foreign') end
if form ~= '1' then return reply('format') end
local age = now - tonumber(made)
-- The clock of this server is behind that of an earlier one, so the age is unknown.
if age < -1000000 then return reply('absent') end
return reply('found', number(math.max(0, age)) .. ' ' .. string.sub(value, 5 + #made))
