--! uses _time _chains _wake
-- Put a batch of events into their lanes and move the account's cursor: all of it, or nothing when the cursor no
-- longer stands where the batch began (another drain was faster).
--
-- KEYS[1] stream   stream  deliveries of the account
-- KEYS[2] cursor   string  id of the last drained entry
-- KEYS[3] ready    zset    accounts with something to drain
-- KEYS[4] open     hash    stream id -> steps of that delivery not finished yet
-- KEYS[5] stats    hash    counters of the account
-- KEYS[6] dead     hash    dead letter id -> record
-- KEYS[7] index    zset    "account:id" -> ms, over all accounts of the shard
-- KEYS[8..11]      lanes: ready, due, state, items (see _chains)
-- KEYS[12] awake, KEYS[13] flag   run loops (see _wake)
-- KEYS[14...]      event   string  one per event of the batch: seen already, and the ms at which the delivery was stored
--                          that brought it; lives ARGV[5] s
-- KEYS[14 + events...]  entry  hash  one per changed entry of the ledger of own writes (see echoes_expect); lives ARGV[9] s
-- KEYS[14 + events + entries...]  story  hash  one per delivery: what became of it (see stories.py); lives ARGV[10] s
-- ARGV: account, expected cursor, new cursor, hold (ms), life of `event` (s), number of dead letters, number of events,
--       number of entries, life of `entry` (s), life of `story` (s),
--       then per dead letter: id, record; then per event: stream id, 1 for an echo, number of its story (0: none), its
--       field there, number of steps, then per step: lane, record; then per entry: number of fields to drop, their
--       names, number of fields to write, then per field: name, value
-- Returns {moved, events that were new, wake a run loop, more to drain}.
--
-- A step is one event in one lane. `hold` is how long the account stays with this drain when there is more.

local account, expected, cursor = ARGV[1], ARGV[2], ARGV[3]
local hold, life = tonumber(ARGV[4]), ARGV[5]
local n_dead, n_events, n_entries = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local lanes = {ready = KEYS[8], due = KEYS[9], state = KEYS[10], items = KEYS[11]}
local now = now_ms()
begin_even_when_full(lanes)

if (redis.call('GET', KEYS[2]) or '0-0') ~= expected then return {0, 0, 0, 0} end

-- Of an event that went into its lanes its steps will tell.
local function tell(story, field, text)
  if story == 0 then return end
  local key = KEYS[13 + n_events + n_entries + story]
  redis.call('HSET', key, field, text)
  redis.call('EXPIRE', key, ARGV[10])
end

local a = 11
for _ = 1, n_dead do
  redis.call('HSET', KEYS[6], ARGV[a], ARGV[a + 1])
  redis.call('ZADD', KEYS[7], string.format('%.0f', now), account .. ':' .. ARGV[a])
  a = a + 2
end

local fresh, echoes, steps_added = 0, 0, 0
for i = 1, n_events do
  local stream_id, is_echo, steps = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 4])
  local story, field = tonumber(ARGV[a + 2]), ARGV[a + 3]
  a = a + 5
  if redis.call('SET', KEYS[13 + i], string.match(stream_id, '^%d+'), 'NX', 'EX', life) then
    fresh = fresh + 1
    echoes = echoes + is_echo
    if is_echo == 1 then tell(story, field, 'echo') end
    for s = 0, steps - 1 do
      append(lanes, account, ARGV[a + 2 * s], ARGV[a + 2 * s + 1], now)
    end
    if steps > 0 then
      redis.call('HINCRBY', KEYS[4], stream_id, steps)
      steps_added = steps_added + steps
    end
  elseif story > 0 then
    tell(story, field, 'repeated|' .. redis.call('GET', KEYS[13 + i]))
  end
  a = a + 2 * steps
end

for i = 1, n_entries do
  local entry = KEYS[13 + n_events + i]
  local gone = tonumber(ARGV[a])
  for g = a + 1, a + gone do redis.call('HDEL', entry, ARGV[g]) end
  a = a + gone + 1
  local written = tonumber(ARGV[a])
  for w = a + 1, a + 2 * written, 2 do redis.call('HSET', entry, ARGV[w], ARGV[w + 1]) end
  if written > 0 then redis.call('EXPIRE', entry, ARGV[9]) end
  a = a + 2 * written + 1
end

redis.call('SET', KEYS[2], cursor)
redis.call('HINCRBY', KEYS[5], 'events', fresh)
if echoes > 0 then redis.call('HINCRBY', KEYS[5], 'echoes', echoes) end
redis.call('HINCRBY', KEYS[5], 'repeated_events', n_events - fresh)
redis.call('HINCRBY', KEYS[5], 'steps', steps_added)
redis.call('HINCRBY', KEYS[5], 'undecodable', n_dead)

local more = 0
if redis.call('XRANGE', KEYS[1], '(' .. cursor, '+', 'COUNT', 1)[1] then
  more = 1
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + hold), account)
else
  redis.call('ZREM', KEYS[3], account)
end
local wake = 0
if steps_added > 0 then wake = wake_needed(KEYS[12], KEYS[13], now) end
return {1, fresh, wake, more}
