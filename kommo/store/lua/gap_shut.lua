-- Say when a gap that went on has ended.
--
-- KEYS[1] gap  hash  see gap_open
-- ARGV: until (unix s)
-- Returns 1, or 0 when there is no gap that goes on.

if redis.call('HGET', KEYS[1], 'until') ~= '0' then return 0 end
redis.call('HSET', KEYS[1], 'until', ARGV[1])
return 1
