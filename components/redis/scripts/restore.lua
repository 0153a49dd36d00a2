-- Sends all keys of one database to the masters that own them. Runs in the Redis that loaded them,
-- which loses them by that.
-- ARGV: database, port, "true" to replace keys, user, password, then host, first slot, last slot
-- of each range.
local db, port, replace, user, password = ARGV[1], ARGV[2], ARGV[3] == 'true', ARGV[4], ARGV[5]

-- CRC16 (XMODEM) of what is between the first braces of a key, as the cluster specification says.
local function slot_of(key)
  local open = string.find(key, '{', 1, true)
  if open then
    local close = string.find(key, '}', open + 1, true)
    if close and close > open + 1 then key = string.sub(key, open + 1, close - 1) end
  end
  local crc = 0
  for i = 1, #key do
    crc = bit.bxor(crc, bit.lshift(string.byte(key, i), 8))
    for _ = 1, 8 do
      local carry = bit.band(crc, 0x8000) ~= 0
      crc = bit.band(bit.lshift(crc, 1), 0xFFFF)
      if carry then crc = bit.bxor(crc, 0x1021) end
    end
  end
  return crc % 16384
end

local host_of = {}
for i = 6, #ARGV, 3 do
  for slot = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]) do host_of[slot] = ARGV[i] end
end

local function send(host, keys)
  local command = {'MIGRATE', host, port, '', db, 60000}
  if replace then command[#command + 1] = 'REPLACE' end
  for _, word in ipairs({'AUTH2', user, password, 'KEYS'}) do command[#command + 1] = word end
  for _, key in ipairs(keys) do command[#command + 1] = key end
  local reply = redis.pcall(unpack(command))
  return reply.err
end

local restored, kept = 0, 0
local function flush(host, keys)
  local problem = send(host, keys)
  if not problem then
    restored = restored + #keys
  elseif string.find(problem, 'BUSYKEY', 1, true) then
    -- One by one tells what became of each: those that went are gone from here (NOKEY).
    for _, key in ipairs(keys) do
      local one = send(host, {key})
      if not one then
        restored = restored + 1
      elseif string.find(one, 'BUSYKEY', 1, true) then
        kept = kept + 1
      else
        return one
      end
    end
  else
    return problem
  end
end

redis.call('SELECT', db)
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 500)
  cursor = page[1]
  local batches = {}
  for _, key in ipairs(page[2]) do
    local host = host_of[slot_of(key)]
    batches[host] = batches[host] or {}
    table.insert(batches[host], key)
  end
  for host, keys in pairs(batches) do
    local problem = flush(host, keys)
    if problem then return host .. ': ' .. problem end
  end
until cursor == '0'
return 'restored ' .. restored .. ' keys, kept ' .. kept .. ' that were there'
