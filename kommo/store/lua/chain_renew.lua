--! uses _time _chains
-- Prolong leases that are still held.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains)
-- ARGV: lease (ms), then per lease: chain, token, item number
-- Returns a list of 1 (prolonged) and 0 (lost to somebody else), one per lease.
--
-- Who asks for a lease that was lost is alive: what was counted as a crash alone was none, Redis was away.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local lease = tonumber(ARGV[1])
local now = now_ms()
begin_even_when_full(q)

local function forgive(chain, token, seq)
  local packed = redis.call('HGET', q.state, chain)
  if not packed or unpack_state(packed).head ~= seq or redis.call('HGET', q.items, chain .. '|mark') ~= token then return end
  redis.call('HDEL', q.items, chain .. '|mark')
  if redis.call('HEXISTS', q.items, chain .. '|alone') == 1 then redis.call('HINCRBY', q.items, chain .. '|alone', -1) end
end

local result = {}
for a = 2, #ARGV, 3 do
  local chain, token, seq = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  local kept = held(q, chain, token, seq) ~= nil
  -- The account's place among the ready ones stays: moved up by each renewal, it would never look late to a sweeper.
  if kept then redis.call('ZADD', q.due, string.format('%.0f', now + lease), chain) else forgive(chain, token, seq) end
  result[#result + 1] = kept and 1 or 0
end
return result
