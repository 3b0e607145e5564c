-- Remember that deliveries may be missing from a stretch of time, or that a stretch that is known is longer.
--
-- KEYS[1] gap  hash  since, until: unix s, until 0 while it goes on; position: up to where it is filled; why;
--                    token, lease: who fills it now, and the ms at which that ends
-- ARGV: since, until, why
-- Returns 1 when there was none, else 0.

local since, ends = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'since', 'until', 'position')
if not known[1] then
  redis.call('HSET', KEYS[1], 'since', ARGV[1], 'until', ARGV[2], 'position', ARGV[1], 'why', ARGV[3])
  return 1
end
if since < tonumber(known[1]) then redis.call('HSET', KEYS[1], 'since', ARGV[1]) end
if since < tonumber(known[3]) then redis.call('HSET', KEYS[1], 'position', ARGV[1]) end
if known[2] ~= '0' and (ends == 0 or ends > tonumber(known[2])) then redis.call('HSET', KEYS[1], 'until', ARGV[2]) end
return 0
