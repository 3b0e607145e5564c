--! uses _time _chains
-- Finish the writes that one take has leased: all of them in one step.
--
-- KEYS[1..4]  outbox: ready, due, state, items (see _chains, outbox_take)
-- KEYS[5] finished  string  token of what this sender finished last; lives 10 minutes
-- KEYS[6] stats     hash    counters of the account
-- KEYS[7] dead      hash    dead letter id -> record
-- KEYS[8] index     zset    "account:id" -> ms
-- KEYS[9...] result string  per result: what became of a write, for those that refer to it; lives ARGV[3] s
-- ARGV: account, token, life of the results (s), then per chain: chain, item number, verb, how many writes are done
--       with, delay (ms), mark, how many of the writes then at the head get it, number of results, number of dead
--       letters; then its results (the id of the entity made, or "failed"), then its dead letters (id, record)
-- verb: done      Kommo has the writes that are done with
--       dead      they are given up: their dead letters are stored
--       failed    they were tried in vain: again after the delay, counted as a failure
--       postpone  they were not tried, or have to be tried otherwise: again after the delay, not counted
-- mark: "!" they have to go alone, "?" nobody knows whether Kommo has done them, "" nothing
-- Returns one number per chain: 1 recorded, 2 recorded by an earlier call whose answer was lost, 0 the lease has passed
-- to somebody else and nothing was changed.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, token, life = ARGV[1], ARGV[2], ARGV[3]
local now = now_ms()
begin_even_when_full(q)
local before = redis.call('GET', KEYS[5]) == token

local function mark_all(chain, mark, first, last)
  for n = first, last do
    local item = redis.call('HGET', q.items, chain .. '|' .. n)
    local marked = string.sub(item, 1, 1)
    if marked ~= mark and marked ~= '?' then redis.call('HSET', q.items, chain .. '|' .. n, mark .. item) end
  end
end

local outcomes, a, result_key = {}, 4, 9
while a <= #ARGV do
  local chain, seq, verb = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local pop, delay = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local mark, marked = ARGV[a + 5], tonumber(ARGV[a + 6])
  local n_results, n_dead = tonumber(ARGV[a + 7]), tonumber(ARGV[a + 8])
  local s = held(q, chain, token, seq)
  a = a + 9
  if s then
    for i = 0, n_results - 1 do redis.call('SET', KEYS[result_key + i], ARGV[a + i], 'EX', life) end
    for d = a + n_results, a + n_results + 2 * n_dead - 1, 2 do
      redis.call('HSET', KEYS[7], ARGV[d], ARGV[d + 1])
      redis.call('ZADD', KEYS[8], string.format('%.0f', now), account .. ':' .. ARGV[d])
    end
    if verb == 'failed' then
      s.runs = s.runs + 1
      s.failures = s.failures + 1
    end
    redis.call('HDEL', q.items, chain .. '|leased')
    if mark ~= '' then mark_all(chain, mark, s.head + pop, math.min(s.tail, s.head + pop + marked - 1)) end
    finish(q, account, chain, s, pop, delay, now)
    redis.call('HINCRBY', KEYS[6], 'writes_' .. verb, math.max(pop, 1))
  end
  outcomes[#outcomes + 1] = s and 1 or (before and 2 or 0)
  a = a + n_results + 2 * n_dead
  result_key = result_key + n_results
end
redis.call('SET', KEYS[5], token, 'EX', 600)
return outcomes
