--! uses _time _wake _dead
-- Put the delivery of a dead letter back at the end of the inbox, and take the letter away.
--
-- KEYS[1] dead, KEYS[2] index   (see _dead)
-- KEYS[3] stats   hash    counters of the account; `bytes` is what the stream's bodies weigh
-- KEYS[4] stream  stream  deliveries of the account: fields id, type, at, body (see inbox_append)
-- KEYS[5] ready   zset    account -> ms at which a drain may take it
-- KEYS[6] awake, KEYS[7] flag   drain loops (see _wake)
-- ARGV: account, letter id, digest of the letter as it was read, delivery id, content type, received at (ms), body,
--       then the stream ids under which it lies there still
-- Returns {1 put back, wake a drain}, or {0, 0} when the letter is gone or another one by now.
--
-- It goes past what is known as seen: the body was, and that is no reason to refuse it. Its old entry goes, so that it is
-- there once; a drain has passed it, and nothing of it is open, for no event was made of it.

local account, body = ARGV[1], ARGV[7]
if not take_letter(KEYS[1], KEYS[2], account, ARGV[2], ARGV[3]) then return {0, 0} end
local now = now_ms()
local gone = 0
for a = 8, #ARGV do gone = gone + redis.call('XDEL', KEYS[4], ARGV[a]) end
redis.call('XADD', KEYS[4], '*', 'id', ARGV[4], 'type', ARGV[5], 'at', ARGV[6], 'body', body)
redis.call('HINCRBY', KEYS[3], 'bytes', #body * (1 - gone))
redis.call('HINCRBY', KEYS[3], 'retried', 1)
redis.call('ZADD', KEYS[5], 'NX', string.format('%.0f', now), account)
return {1, wake_needed(KEYS[6], KEYS[7], now)}
