--! uses _time
-- Claim the careful call of a blocked scope, if it is due; nobody else gets it before the lease ends.
--
-- KEYS[1] block, KEYS[2] due   (see limiter_block)
-- ARGV: scope, lease (ms)
-- Returns the account to call for, or "".

local now = now_ms()
local at = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not at or tonumber(at) > now then return '' end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('HSET', KEYS[1], 'probing', '1')
return redis.call('HGET', KEYS[1], 'account') or ''
