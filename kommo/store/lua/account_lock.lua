--! uses _time
-- Begin, or go on with, the renewal of an account's tokens.
--
-- KEYS[1] record hash    see account_store.lua
-- KEYS[2] lock   string  who renews now
-- KEYS[3] pause  hash    see account_unlock.lua
-- ARGV: token of the one who asks, lease (ms), the version that it wants to renew, a mark of the client with whose keys,
--       1 to begin in spite of a pause
-- Returns 1 it may, for the length of the lease; 0 somebody else does; -1 the version has moved on, nothing is to do;
-- -2 the last one has failed a moment ago.

if redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then return -1 end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
local now = now_ms()
if not holder and ARGV[5] ~= '1' then
  local pause = redis.call('HMGET', KEYS[3], 'until', 'client')
  if tonumber(pause[1] or '0') > now and (pause[2] == '' or pause[2] == ARGV[4]) then return -2 end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[1], 'tried', string.format('%.0f', math.floor(now / 1000)))
return 1
