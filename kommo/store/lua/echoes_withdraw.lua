-- Expect nothing of a request any more: Kommo has refused it.
--
-- KEYS[1...] hash  as KEYS[2...] of echoes_expect
-- ARGV: id of the request
-- Returns how many of its writes were still expected.

local dropped = 0
for i = 1, #KEYS do dropped = dropped + redis.call('HDEL', KEYS[i], ARGV[1] .. ':' .. (i + 1)) end
return dropped
