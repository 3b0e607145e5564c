--! uses _time _chains
-- Lease chains that are due, the longest waiting first.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains)
-- ARGV: account, token, lease (ms), how many at most
-- Returns a list of {chain, item number, runs, failures, crashes, item, crashes alone}, and how many more are due, as its
-- last element.
--
-- A chain whose lease ran out without a finish is counted as a crash of its item; and as one that happened alone if that
-- lease was marked (see chain_mark).

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, token, lease, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
begin_even_when_full(q)
local result = {}
for _, chain in ipairs(redis.call('ZRANGE', q.due, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, limit)) do
  local s = unpack_state(redis.call('HGET', q.state, chain))
  local alone = 0
  if s.token ~= '-' then
    s.crashes = s.crashes + 1
    if redis.call('HGET', q.items, chain .. '|mark') == s.token then redis.call('HINCRBY', q.items, chain .. '|alone', 1) end
  end
  if s.crashes > 0 then alone = tonumber(redis.call('HGET', q.items, chain .. '|alone') or '0') end
  s.token = token
  save_state(q, chain, s)
  redis.call('ZADD', q.due, string.format('%.0f', now + lease), chain)
  local item = redis.call('HGET', q.items, chain .. '|' .. s.head)
  result[#result + 1] = {chain, s.head, s.runs, s.failures, s.crashes, item, alone}
end
settle(q, account)
result[#result + 1] = redis.call('ZCOUNT', q.due, '-inf', string.format('%.0f', now))
return result
