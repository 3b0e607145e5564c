--! uses _time _chains _wake
-- Finish one step, and store the writes that it asked for in the same breath.
--
-- KEYS[1..4]   lanes: ready, due, state, items (see _chains)
-- KEYS[5..8]   outbox: ready, due, state, items (see _chains)
-- KEYS[9] awake, KEYS[10] flag   flush loops (see _wake)
-- KEYS[11] finished  string  what this runner finished last; lives 10 minutes
-- KEYS[12] open      hash    stream id -> steps of that delivery not finished yet
-- KEYS[13] stats     hash    counters of the account
-- KEYS[14] dead      hash    dead letter id -> record
-- KEYS[15] index     zset    "account:id" -> ms
-- KEYS[16] story     hash    what became of the delivery (see stories.py); lives ARGV[12] s; absent when none is told
-- ARGV: account, lane, token, item number, verb, delay (ms), stream id, dead letter id, dead letter record,
--       field of the story, its text, life of the story (s), then per write: chain, record
-- verb: done     the step succeeded: its writes are stored, the next event of the lane is due
--       failed   it raised: again after the delay, counted as a failure
--       again    it asked to run again after the delay: counted as a run only
--       postpone it was not run (nobody here knows the handler): again after the delay, not counted
--       dead     it is given up: the dead letter is stored, the next event of the lane is due
-- Returns {outcome, wake}: outcome 1 recorded, 2 recorded by an earlier call whose answer was lost, 0 the lease has
-- passed to somebody else and nothing was changed; wake 1 when a flush loop has to be woken.

local lanes = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local outbox = {ready = KEYS[5], due = KEYS[6], state = KEYS[7], items = KEYS[8]}
local account, lane, token, seq, verb, delay = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local now = now_ms()
begin_even_when_full(lanes)
local mark = token .. '|' .. seq .. '|' .. lane

local s = held(lanes, lane, token, seq)
if not s then
  if redis.call('GET', KEYS[11]) == mark then return {2, 0} end
  redis.call('HINCRBY', KEYS[13], 'stale', 1)
  return {0, 0}
end

local wake, pop = 0, (verb == 'done' or verb == 'dead') and 1 or 0
if verb == 'failed' or verb == 'again' then s.runs = s.runs + 1 end
if verb == 'failed' then s.failures = s.failures + 1 end
if verb == 'dead' then
  redis.call('HSET', KEYS[14], ARGV[8], ARGV[9])
  redis.call('ZADD', KEYS[15], string.format('%.0f', now), account .. ':' .. ARGV[8])
end
if verb == 'done' and #ARGV > 12 then
  for a = 13, #ARGV, 2 do append(outbox, account, ARGV[a], ARGV[a + 1], now) end
  redis.call('HINCRBY', KEYS[13], 'writes', (#ARGV - 12) / 2)
  wake = wake_needed(KEYS[9], KEYS[10], now)
end
finish(lanes, account, lane, s, pop, delay, now)
if pop > 0 then
  -- Read first: only what is written goes into the append-only file, and most deliveries have one step.
  local open = tonumber(redis.call('HGET', KEYS[12], ARGV[7]) or '0')
  if open > 1 then redis.call('HINCRBY', KEYS[12], ARGV[7], -1) else redis.call('HDEL', KEYS[12], ARGV[7]) end
end
if KEYS[16] then
  redis.call('HSET', KEYS[16], ARGV[10], ARGV[11])
  redis.call('EXPIRE', KEYS[16], ARGV[12])
end
redis.call('HINCRBY', KEYS[13], 'steps_' .. verb, 1)
redis.call('SET', KEYS[11], mark, 'EX', 600)
return {1, wake}
