--! uses _chains
-- Mark a lease as the only one that its process works on, or take the mark away. What ends a process that does nothing
-- else is beyond doubt; its neighbours would be counted with it.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains)
-- ARGV: chain, token, item number, 1 to mark or 0
-- Returns 1, or 0 when the lease has passed to somebody else.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
begin_even_when_full(q)
if not held(q, ARGV[1], ARGV[2], tonumber(ARGV[3])) then return 0 end
if ARGV[4] == '1' then
  redis.call('HSET', q.items, ARGV[1] .. '|mark', ARGV[2])
else
  redis.call('HDEL', q.items, ARGV[1] .. '|mark')
end
return 1
