--! uses _time
-- Note that a receiver has been able to take deliveries for some time, up to now; and, when none was before, since when.
--
-- KEYS[1] lived  string  unix s at which a receiver last said so
-- KEYS[2] away   list    "from until" (unix s) of each time in which there was none
-- Both are gone after ARGV[4] seconds in which no receiver says anything.
-- ARGV: for how long this one has been able to (s), shortest time that counts (s), how many are kept, life (s)
-- Returns 1 when there was none for a time that counts.

local now = math.floor(now_ms() / 1000)
local last = tonumber(redis.call('GET', KEYS[1]) or now)
redis.call('SET', KEYS[1], string.format('%.0f', now), 'EX', ARGV[4])
local began = now - tonumber(ARGV[1])
if began - last <= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[2], string.format('%.0f %.0f', last, began))
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[3]), -1)
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
