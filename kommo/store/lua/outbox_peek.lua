--! uses _time _chains
-- Look whether there is something to send, before a slot of the rate limit is waited for.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains)
-- KEYS[5] stumbles   (see outbox_finish)
-- ARGV: account, how long a write that is alone may wait for company (ms)
-- Returns 0 when there is, -1 when there is nothing, or ms to come back after: the only write there is waits for company,
-- or the account rests because nothing came through lately.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, company = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
begin_even_when_full(q)

local due = redis.call('ZRANGE', q.due, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 2, 'WITHSCORES')
if not due[1] then
  settle(q, account)
  return -1
end
local rest = tonumber(redis.call('HGET', KEYS[5], 'until') or '0')
if rest > now then
  redis.call('ZADD', q.ready, string.format('%.0f', rest), account)
  return rest - now
end
if due[3] or redis.call('ZCARD', q.due) > 1 then return 0 end
local ripe = tonumber(due[2]) + company
local s = unpack_state(redis.call('HGET', q.state, due[1]))
if ripe <= now or s.head < s.tail or s.runs > 0 or s.token ~= '-' then return 0 end
redis.call('ZADD', q.ready, string.format('%.0f', ripe), account)
return ripe - now
