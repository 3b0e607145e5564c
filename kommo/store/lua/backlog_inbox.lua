-- Say since when the oldest delivery of an account waits to be drained, and how many do; nothing is changed.
--
-- KEYS[1] stream  stream  deliveries of the account
-- KEYS[2] cursor  string  id of the last drained entry
-- ARGV: how many to count at most
-- Returns {ms, or -1 when none waits; how many}.

local after = redis.call('GET', KEYS[2]) or '0-0'
local waiting = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[1])
if not waiting[1] then return {-1, 0} end
return {tonumber(string.match(waiting[1][1], '^(%d+)')), #waiting}
