--! uses _time _chains
-- Finish the writes that one take has leased: all of them in one step.
--
-- KEYS[1..4]  outbox: ready, due, state, items (see _chains, outbox_take)
-- KEYS[5] finished  string  token of what this sender finished last; lives 10 minutes
-- KEYS[6] stats     hash    counters of the account
-- KEYS[7] dead      hash    dead letter id -> record
-- KEYS[8] index     zset    "account:id" -> ms
-- KEYS[9] stumbles  hash    failed: requests in a row that came to nothing; until: ms before which no other one goes.
--                           Gone with the next that works, or after 10 minutes.
-- KEYS[10...] result string per result: what became of a write, for those that refer to it; lives ARGV[3] s
-- KEYS[10 + results...] story  hash  one per delivery of which something is told (see stories.py)
-- ARGV: account, token, life of the results (s), number of stories, then per chain: chain, item number, verb, how many
--       writes are done with, delay (ms), mark, how many of the writes then at the head get it, number of results,
--       number of dead letters, number of lines told; then its results (the id of the entity made, or "failed"), then
--       its dead letters (id, record), then its lines (number of the story, field, text)
-- verb: done      Kommo has the writes that are done with
--       dead      they are given up: their dead letters are stored
--       failed    they were tried in vain: again after the delay, counted as a failure
--       postpone  they were not tried, or have to be tried otherwise: again after the delay, not counted
-- mark: "!" they have to go alone, "?" nobody knows whether Kommo has done them, "" nothing
-- Returns one number per chain: 1 recorded, 2 recorded by an earlier call whose answer was lost, 0 the lease has passed
-- to somebody else and nothing was changed.

-- Failed requests in a row before an account rests, and its longest rest.
local PATIENT = 7
local LONGEST_REST_MS = 60000

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, token, life = ARGV[1], ARGV[2], ARGV[3]
local before_stories = #KEYS - tonumber(ARGV[4])
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

-- A story that retention has dropped is not begun again.
local function tell(story, field, text)
  if redis.call('EXISTS', story) == 1 then redis.call('HSET', story, field, text) end
end

local outcomes, a, result_key = {}, 5, 10
local worked, stumbled = false, false
while a <= #ARGV do
  local chain, seq, verb = ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 2]
  local pop, delay = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local mark, marked = ARGV[a + 5], tonumber(ARGV[a + 6])
  local n_results, n_dead, n_told = tonumber(ARGV[a + 7]), tonumber(ARGV[a + 8]), tonumber(ARGV[a + 9])
  local s = held(q, chain, token, seq)
  a = a + 10
  local told = a + n_results + 2 * n_dead
  if s then
    for i = 0, n_results - 1 do redis.call('SET', KEYS[result_key + i], ARGV[a + i], 'EX', life) end
    for d = a + n_results, told - 1, 2 do
      redis.call('HSET', KEYS[7], ARGV[d], ARGV[d + 1])
      redis.call('ZADD', KEYS[8], string.format('%.0f', now), account .. ':' .. ARGV[d])
    end
    for t = told, told + 3 * n_told - 1, 3 do tell(KEYS[before_stories + tonumber(ARGV[t])], ARGV[t + 1], ARGV[t + 2]) end
    if verb == 'failed' then
      s.runs = s.runs + 1
      s.failures = s.failures + 1
      stumbled = true
    end
    worked = worked or verb == 'done'
    redis.call('HDEL', q.items, chain .. '|leased')
    if mark ~= '' then mark_all(chain, mark, s.head + pop, math.min(s.tail, s.head + pop + marked - 1)) end
    finish(q, account, chain, s, pop, delay, now)
    redis.call('HINCRBY', KEYS[6], 'writes_' .. verb, math.max(pop, 1))
  end
  outcomes[#outcomes + 1] = s and 1 or (before and 2 or 0)
  a = told + 3 * n_told
  result_key = result_key + n_results
end
-- Each write waits by its own backoff; but a thousand that wait for a Kommo that is down must not keep asking it.
if worked then
  redis.call('DEL', KEYS[9])
elseif stumbled then
  local failed = redis.call('HINCRBY', KEYS[9], 'failed', 1)
  if failed > PATIENT then
    local until_ms = string.format('%.0f', now + math.min(LONGEST_REST_MS, 1000 * 2 ^ math.min(failed - PATIENT - 1, 20)))
    redis.call('HSET', KEYS[9], 'until', until_ms)
    redis.call('ZADD', q.ready, 'XX', until_ms, account)
  end
  redis.call('PEXPIRE', KEYS[9], 600000)
end
redis.call('SET', KEYS[5], token, 'EX', 600)
return outcomes
