--! uses _time
-- Stop a scope: Kommo has blocked it. Nothing goes out any more but one careful call, when it is due.
--
-- KEYS[1] block  hash  account: whose call tells whether it is over; step: ms between two such calls; until: ms of the next
-- KEYS[2] due    zset  scope -> ms of its next careful call, over all scopes
-- KEYS[3] pause  string  (see limiter_acquire); "!" at its end keeps it until the block is released
-- ARGV: scope, account, wait at least (ms), first wait (ms), longest wait (ms)
-- Returns ms until the careful call. Each block of a scope that is blocked already doubles its wait, once per wait.

local scope, account = ARGV[1], ARGV[2]
local least, first, longest = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local step = tonumber(redis.call('HGET', KEYS[1], 'step') or '0')
local next_at = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
local probing = redis.call('HGET', KEYS[1], 'probing') == '1'
-- Calls that were under way when the block came say nothing new.
if step > 0 and not probing then return math.max(0, next_at - now) end
step = math.max(step == 0 and first or math.min(step * 2, longest), least)
local at = string.format('%.0f', now + step)
redis.call('HSET', KEYS[1], 'account', account, 'step', string.format('%.0f', step), 'until', at, 'probing', '0')
redis.call('ZADD', KEYS[2], at, scope)
redis.call('SET', KEYS[3], at .. '!')
return step
