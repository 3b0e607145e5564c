--! uses _time
-- Note what a request is about to change, so that the webhooks it causes are known as echoes.
--
-- KEYS[1] writing  hash  kind of entity -> 1, for the kinds that the account wrote within the last hour; lives ARGV[2] s
-- KEYS[2...]       hash  of one entity, or of creations that look alike (see kommo/hooks/echoes/ledger.py):
--                        id of a write -> "ms at which it was sent, and what its webhook will show";
--                        "seen" -> what the entity's last webhooks showed, written by inbox_commit alone; lives ARGV[2] s
-- ARGV: id of the request, life (s), number of kinds, the kinds, then per KEYS[2...] what will show
-- Returns nothing. The second write of a request to the same key is another field of it.

local request, life, n_kinds = ARGV[1], ARGV[2], tonumber(ARGV[3])
for k = 1, n_kinds do redis.call('HSET', KEYS[1], ARGV[3 + k], 1) end
redis.call('EXPIRE', KEYS[1], life)
local at = string.format('%.3f', now_exact())
for i = 2, #KEYS do
  redis.call('HSET', KEYS[i], request .. ':' .. i, at .. ' ' .. ARGV[2 + n_kinds + i])
  redis.call('EXPIRE', KEYS[i], life)
end
return 0
