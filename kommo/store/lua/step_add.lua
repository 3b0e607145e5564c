--! uses _time _chains _wake
-- Put a batch of replayed steps at the end of their lanes, and move the replay's place: all of it, or nothing when the
-- place is no longer where the batch began (it was done already, or another one goes on with this replay).
--
-- KEYS[1] place  string  stream id up to which the replay has come in this account; lives ARGV[4] s
-- KEYS[2] known  set     ids of the events that this replay has run in this account; lives ARGV[4] s
-- KEYS[3] open   hash    stream id -> steps of that delivery not finished yet
-- KEYS[4] stats  hash    counters of the account
-- KEYS[5..8]     lanes: ready, due, state, items (see _chains)
-- KEYS[9] awake, KEYS[10] flag   run loops (see _wake)
-- ARGV: account, expected place, new place, life of place and known (s),
--       then per event: event id, stream id, number of steps (one at least), then per step:
--       lane, record
-- Returns {moved, steps added, wake a run loop}.

local account, expected, place, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local lanes = {ready = KEYS[5], due = KEYS[6], state = KEYS[7], items = KEYS[8]}
local now = now_ms()

if (redis.call('GET', KEYS[1]) or '0-0') ~= expected then return {0, 0, 0} end
redis.call('SET', KEYS[1], place, 'EX', life)

local a, added = 5, 0
while a <= #ARGV do
  local event, stream_id, steps = ARGV[a], ARGV[a + 1], tonumber(ARGV[a + 2])
  a = a + 3
  if redis.call('SADD', KEYS[2], event) == 1 then
    for s = 0, steps - 1 do append(lanes, account, ARGV[a + 2 * s], ARGV[a + 2 * s + 1], now) end
    redis.call('HINCRBY', KEYS[3], stream_id, steps)
    added = added + steps
  end
  a = a + 2 * steps
end
redis.call('EXPIRE', KEYS[2], life)

local wake = 0
if added > 0 then
  redis.call('HINCRBY', KEYS[4], 'steps', added)
  redis.call('HINCRBY', KEYS[4], 'replayed', added)
  wake = wake_needed(KEYS[9], KEYS[10], now)
end
return {1, added, wake}
