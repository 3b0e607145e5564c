--! uses _time
-- Park an account, or put off the next call that tries whether it still has to be.
--
-- KEYS[1] parked  hash  see park_admit
-- ARGV: reason, ms between two calls that try, 1 when reads are refused too
-- Of a disconnected account no call works: what Kommo says to the next one that tries is no other reason.
-- Returns 1 when it was not parked before.

local now = now_ms()
local before, every = unpack(redis.call('HMGET', KEYS[1], 'reason', 'every'))
if before == 'disconnected' and ARGV[1] ~= before then
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + tonumber(every)))
  return 0
end
redis.call('HSET', KEYS[1], 'reason', ARGV[1], 'every', ARGV[2], 'until', string.format('%.0f', now + tonumber(ARGV[2])))
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'reads', '1') end
return before and 0 or 1
