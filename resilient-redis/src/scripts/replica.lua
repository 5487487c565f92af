-- A range of the records of a replica set, in the hash KEYS[1]. The field 'd' is the digest of the range. A record has the
-- field 'v' .. key: 'RV1', the version (32 hexadecimal digits), its mark (16), and 'v', or 'r' if it is removed; and the field
-- 'b' .. key with the value.
-- ARGV: request, resent, then one of
--   'read', key; 'digest'; 'forget', key, version; 'list', cursor, count;
--   'write', key, version, mark, 'v' or 'r', value, expected, maximum microseconds ahead. `expected` is 'older', 'none' or a version.
-- Returns {request, server time, status, detail}.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function number(n) return string.format('%.0f', n) end
local function reply(status, detail) return {ARGV[1], number(now), status, detail or ''} end

-- The result of a command; or nothing, and the response that ends the script.
local function call(...)
  local result = redis.pcall(...)
  if type(result) == 'table' and result.err then
    if string.find(result.err, 'WRONGTYPE', 1, true) then return nil, reply('foreign') end
    return nil, result
  end
  return result
end

local operation, key = ARGV[3], ARGV[4]

if operation == 'digest' then
  local digest, failed = call('HGET', KEYS[1], 'd')
  if failed then return failed end
  return reply('digest', digest or '')
end

if operation == 'list' then
  local page, failed = call('HSCAN', KEYS[1], ARGV[4], 'MATCH', 'v*', 'COUNT', ARGV[5])
  if failed then return failed end
  local parts = {page[1]}
  for i = 1, #page[2], 2 do
    local name, head = string.sub(page[2][i], 2), page[2][i + 1]
    local form, version, kind = string.match(head, '^RV(%d)(%x+)(%a)$')
    if not form then return reply('foreign') end
    if form ~= '1' then return reply('format') end
    parts[#parts + 1] = string.sub(version, 1, 32) .. kind .. #name .. ':' .. name
  end
  return reply('page', table.concat(parts, ' '))
end

local head, failed = call('HGET', KEYS[1], 'v' .. key)
if failed then return failed end
local version, mark, kind
if head then
  local form, digits
  form, digits, kind = string.match(head, '^RV(%d)(%x+)(%a)$')
  if not form then return reply('foreign') end
  if form ~= '1' then return reply('format') end
  version, mark = string.sub(digits, 1, 32), string.sub(digits, 33)
  if #digits ~= 48 or (kind ~= 'v' and kind ~= 'r') then return reply('foreign') end
end

local function value()
  if kind ~= 'v' then return '' end
  return redis.call('HGET', KEYS[1], 'b' .. key) or ''
end

-- The exclusive or of two numbers of 64 bits, in hexadecimal digits.
local function xor(a, b)
  local function half(from)
    return bit.tohex(bit.bxor(tonumber(string.sub(a, from, from + 7), 16), tonumber(string.sub(b, from, from + 7), 16)))
  end
  return half(1) .. half(9)
end

-- The new digest: `without` and `with` are marks. Nothing if another program has written the digest.
local function digested(without, with)
  local digest = redis.call('HGET', KEYS[1], 'd') or '0000000000000000'
  if #digest ~= 16 or not string.match(digest, '^%x+$') then return nil end
  return xor(digest, xor(without or '0000000000000000', with or '0000000000000000'))
end

if operation == 'read' then
  if not head then return reply('none') end
  return reply('record', version .. kind .. value())
end

if operation == 'forget' then
  if version ~= ARGV[5] or kind ~= 'r' then return reply('kept') end
  local digest = digested(mark)
  if not digest then return reply('foreign') end
  -- After this first change, Redis refuses no other one for lack of memory.
  local _, failed = call('HDEL', KEYS[1], 'v' .. key)
  if failed then return failed end
  redis.call('HSET', KEYS[1], 'd', digest)
  if redis.call('HLEN', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
  return reply('forgotten')
end

local new, new_mark, new_kind, new_value, expected = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
-- The first 12 digits are milliseconds.
local ahead = tonumber(string.sub(new, 1, 12), 16) * 1000 - now
if ahead > tonumber(ARGV[10]) then return reply('ahead', number(ahead)) end
if version == new and kind == new_kind and value() == new_value then return reply('applied') end

-- Whether version a is lower than b. Compared in parts that a Lua number holds exactly.
local function lower(a, b)
  for from = 1, 32, 8 do
    local x, y = tonumber(string.sub(a, from, from + 7), 16), tonumber(string.sub(b, from, from + 7), 16)
    if x ~= y then return x < y end
  end
  return false
end
local is_met
if expected == 'older' then
  is_met = not version or lower(version, new)
elseif expected == 'none' then
  is_met = not version
else
  is_met = version == expected
end
if not is_met then
  if not head then return reply('conflict') end
  return reply('conflict', version .. kind .. value())
end

local digest = digested(mark, new_mark)
if not digest then return reply('foreign') end
local fields = {'d', digest, 'v' .. key, 'RV1' .. new .. new_mark .. new_kind}
if new_kind == 'v' then
  fields[5], fields[6] = 'b' .. key, new_value
end
local _, failed = call('HSET', KEYS[1], unpack(fields))
if failed then return failed end
if new_kind == 'r' and kind == 'v' then redis.call('HDEL', KEYS[1], 'b' .. key) end
return reply('applied')
