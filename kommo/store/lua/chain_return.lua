--! uses _time _chains
-- Give leases back unfinished: their chains are due again after a delay, and nothing is counted.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains)
-- ARGV: account, delay (ms), then per lease: chain, token, item number
-- Returns how many were still held.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, delay = ARGV[1], tonumber(ARGV[2])
local now, returned = now_ms(), 0
begin_even_when_full(q)
for a = 3, #ARGV, 3 do
  local s = held(q, ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2]))
  if s then
    finish(q, account, ARGV[a], s, 0, delay, now)
    returned = returned + 1
  end
end
return returned
