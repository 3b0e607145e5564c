--! uses _time
-- Begin to fill a gap, unless another process does.
--
-- KEYS[1] gap  hash  see gap_open
-- ARGV: token, lease (ms)
-- Returns {since, until, position, why}, or nothing when there is no gap or another process fills it.

local known = redis.call('HMGET', KEYS[1], 'since', 'until', 'position', 'why', 'lease')
local now = now_ms()
if not known[1] or (known[5] and tonumber(known[5]) > now) then return false end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'lease', string.format('%.0f', now + ARGV[2]))
return {known[1], known[2], known[3], known[4]}
