--! uses _time _chains
-- Finish one write.
--
-- KEYS[1..4]  outbox: ready, due, state, items (see _chains)
-- KEYS[5] finished  string  what this sender finished last; lives 10 minutes
-- KEYS[6] result    string  what became of the write, for writes that refer to it: the entity's id, or "failed"
-- KEYS[7] stats     hash    counters of the account
-- KEYS[8] dead      hash    dead letter id -> record
-- KEYS[9] index     zset    "account:id" -> ms
-- ARGV: account, chain, token, item number, verb, delay (ms), result or "", life of the result (s),
--       dead letter id, dead letter record
-- verb: done      Kommo has it
--       failed    it was tried in vain: again after the delay, counted as a failure
--       postpone  it was not tried (it waits for another write, or for its turn): again after the delay, not counted
--       dead      it is given up: the dead letter is stored
-- Returns 1 recorded, 2 recorded by an earlier call whose answer was lost, 0 the lease has passed to somebody else.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, chain, token, seq, verb, delay = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local now = now_ms()
begin_even_when_full(q)
local mark = token .. '|' .. seq .. '|' .. chain

local s = held(q, chain, token, seq)
if not s then
  if redis.call('GET', KEYS[5]) == mark then return 2 end
  return 0
end
if verb == 'failed' then
  s.runs = s.runs + 1
  s.failures = s.failures + 1
end
if ARGV[7] ~= '' then redis.call('SET', KEYS[6], ARGV[7], 'EX', ARGV[8]) end
if verb == 'dead' then
  redis.call('HSET', KEYS[8], ARGV[9], ARGV[10])
  redis.call('ZADD', KEYS[9], string.format('%.0f', now), account .. ':' .. ARGV[9])
end
finish(q, account, chain, s, verb == 'done' or verb == 'dead', delay, now)
redis.call('HINCRBY', KEYS[7], 'writes_' .. verb, 1)
redis.call('SET', KEYS[5], mark, 'EX', 600)
return 1
