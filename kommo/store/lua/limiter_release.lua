--! uses _time
-- Free a slot some time after the answer (the second in which Kommo counts), at once when it was not used.
--
-- KEYS: the slots of each scope (see limiter_acquire)
-- ARGV: slot, free after (ms)
-- Returns in how many scopes it was still held.

local now = now_ms()
local kept = 0
-- A full Redis refuses to begin with a write that needs memory; a slot must come back all the same.
redis.call('ZREM', KEYS[1], '')
for _, slots in ipairs(KEYS) do
  if tonumber(ARGV[2]) == 0 then
    kept = kept + redis.call('ZREM', slots, ARGV[1])
  elseif redis.call('ZSCORE', slots, ARGV[1]) then
    redis.call('ZADD', slots, string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
    kept = kept + 1
  end
end
return kept
