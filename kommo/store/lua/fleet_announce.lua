--! uses _time
-- Say that a worker process is alive, what it can do and which handlers it knows; forget those that are gone.
--
-- KEYS[1] processes zset  process -> ms at which it counts as gone
-- KEYS[2] capacity  hash  "process queue" -> loops it may run on that queue
-- KEYS[3] handlers  zset  handler -> ms at which a process last announced it
-- ARGV: process, life (ms), number of queues, then per queue: name, capacity; then the handlers

local process, life, n = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
redis.call('ZADD', KEYS[1], string.format('%.0f', now + life), process)
for i = 0, n - 1 do redis.call('HSET', KEYS[2], process .. ' ' .. ARGV[4 + 2 * i], ARGV[5 + 2 * i]) end
for a = 4 + 2 * n, #ARGV do redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[a]) end

for _, gone in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE')) do
  redis.call('ZREM', KEYS[1], gone)
  for i = 0, n - 1 do redis.call('HDEL', KEYS[2], gone .. ' ' .. ARGV[4 + 2 * i]) end
end
