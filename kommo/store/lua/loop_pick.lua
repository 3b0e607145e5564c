--! uses _time
-- Choose the account that has waited longest, or go to rest. Choosing and resting are one step, so that work added
-- in between either is seen here or finds nobody awake and wakes a loop.
--
-- KEYS[1] ready  zset    account -> ms at which it is due
-- KEYS[2] awake  zset    loop -> ms at which its lease ends
-- KEYS[3] flag   string  wake-up sent; a loop that is here has answered it
-- ARGV: loop, lease of the loop (ms), 1 if it is the loop's first pick, hold (ms): how long the account is kept from
--       other loops; 0 only sends it to the back of the row
-- Returns {account, how many more accounts are due now}, or {"", ms until the first is due, -1 when there is none}.

local now, exact = now_ms(), string.format('%.3f', now_exact())
if ARGV[3] == '1' then redis.call('DEL', KEYS[3]) end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
local due = redis.call('ZRANGE', KEYS[1], '-inf', exact, 'BYSCORE', 'LIMIT', 0, 1)
if not due[1] then
  redis.call('ZREM', KEYS[2], ARGV[1])
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {'', first[2] and math.max(1, math.ceil(tonumber(first[2]) - now)) or -1}
end
local hold = tonumber(ARGV[4])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('ZADD', KEYS[1], hold == 0 and exact or string.format('%.0f', now + hold), due[1])
local more = redis.call('ZCOUNT', KEYS[1], '-inf', exact)
if hold == 0 then more = more - 1 end
return {due[1], more}
