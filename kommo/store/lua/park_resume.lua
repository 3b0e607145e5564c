--! uses _time _chains
-- Let a parked account go on, and its writes at once.
--
-- KEYS[1..4] outbox: ready, due, state, items (see _chains)
-- KEYS[5]    parked  (see park_admit)
-- ARGV: account
-- Returns 1 when it was parked.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
begin_even_when_full(q)
local was = redis.call('DEL', KEYS[5])
settle(q, ARGV[1])
return was
