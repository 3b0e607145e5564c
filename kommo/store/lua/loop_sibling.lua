--! uses _time
-- Ask whether one more loop should be woken: at most one at a time, until it comes or a second has passed.
--
-- KEYS[1] awake zset   loops and the ends of their leases (see _wake)
-- KEYS[2] flag  string wake-up sent (see _wake)
-- ARGV: how many loops there may be
-- Returns 1 when one is to be woken.

local now = now_ms()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
return redis.call('SET', KEYS[2], '1', 'NX', 'PX', 1000) and 1 or 0
