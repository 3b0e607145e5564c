-- Change an account's state, and leave version and tokens as they are: a renewal that is under way may still end well.
--
-- KEYS[1] record hash  see account_store.lua
-- ARGV: state, reason, expected version or ""
-- Returns 1 when the state is another one now; 0 when it was that one already, or nothing was changed.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then return 0 end
local before = redis.call('HGET', KEYS[1], 'state')
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'reason', ARGV[2])
return before == ARGV[1] and 0 or 1
