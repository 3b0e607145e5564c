-- Say since when the first chain of an account is due, and how many items its chains hold; nothing is changed.
--
-- KEYS[1] due, KEYS[2] items   (see _chains)
-- Returns {ms, which may be in the future, or -1 when there is no chain; how many}.

local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then return {-1, 0} end
return {math.floor(tonumber(first[2])), redis.call('HLEN', KEYS[2])}
