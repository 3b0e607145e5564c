--! uses _time
-- Keep a gap for another lease, while its filling goes on.
--
-- KEYS[1] gap  hash  see gap_open
-- ARGV: token, lease (ms)
-- Returns 1, or 0 when another process fills it, or it is forgotten.

if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now_ms() + ARGV[2]))
return 1
