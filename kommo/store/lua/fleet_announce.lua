--! uses _time
-- Say that a worker process is alive, what it can do and which handlers it knows; forget those that are gone; and
-- become the one process that sweeps, if no other one is.
--
-- KEYS[1] processes zset   process -> ms at which it counts as gone
-- KEYS[2] capacity  hash   "process queue" -> loops it may run on that queue
-- KEYS[3] handlers  zset   handler -> ms at which a process last announced it
-- KEYS[4] sweeper   string the process that sweeps; lives ARGV[3] ms
-- ARGV: process, life (ms), life of the sweeper (ms), number of queues, then per queue: name, capacity; then the handlers
-- Returns 1 when this process is the one to sweep now.

local process, life, sweep, n = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local now = now_ms()
-- First, because a full Redis refuses to begin with a write that needs memory.
redis.call('ZREM', KEYS[1], '')
for _, gone in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE')) do
  redis.call('ZREM', KEYS[1], gone)
  for i = 0, n - 1 do redis.call('HDEL', KEYS[2], gone .. ' ' .. ARGV[5 + 2 * i]) end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + life), process)
for i = 0, n - 1 do redis.call('HSET', KEYS[2], process .. ' ' .. ARGV[5 + 2 * i], ARGV[6 + 2 * i]) end
for a = 5 + 2 * n, #ARGV do redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[a]) end
return redis.call('SET', KEYS[4], process, 'NX', 'PX', sweep) and 1 or 0
