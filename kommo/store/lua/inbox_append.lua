--! uses _time _wake
-- Store one proven delivery, unless it is there already.
--
-- KEYS[1] stream   stream  deliveries of the account: fields id, type, at, body
-- KEYS[2] seen     string  delivery id under which this body was stored; lives ARGV[6] s
-- KEYS[3] ready    zset    account -> ms at which a drain may take it
-- KEYS[4] awake    zset    drain loops (see _wake)
-- KEYS[5] flag     string  wake-up sent (see _wake)
-- KEYS[6] accounts set     every account that ever had a delivery
-- KEYS[7] stats    hash    counters of the account: deliveries, duplicates, bytes
-- ARGV: account, delivery id, content type, received at (ms), body, life of `seen` (s)
-- Returns {outcome, wake}: outcome 1 stored, 0 duplicate of another delivery, 2 this very delivery is stored already;
-- wake 1 when a drain has to be woken.

local account, id, kind, at, body, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local now = now_ms()

if not redis.call('SET', KEYS[2], id, 'NX', 'EX', life) then
  if redis.call('GET', KEYS[2]) == id then return {2, 0} end
  redis.call('HINCRBY', KEYS[7], 'duplicates', 1)
  return {0, 0}
end
redis.call('XADD', KEYS[1], '*', 'id', id, 'type', kind, 'at', at, 'body', body)
redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', now), account)
redis.call('SADD', KEYS[6], account)
redis.call('HINCRBY', KEYS[7], 'deliveries', 1)
redis.call('HINCRBY', KEYS[7], 'bytes', #body)
return {1, wake_needed(KEYS[4], KEYS[5], now)}
