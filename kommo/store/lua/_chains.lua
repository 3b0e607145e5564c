-- Shared by the scripts of lanes and outbox: chains of items, each with one due time.
-- A chain's items run one at a time and in order; retry, lease and waiting are one number, the chain's due time.
--
-- A queue `q` is a table of keys, all of one account but for `ready`:
--   q.ready  zset  account -> ms at which its first chain is due; gone when the account has no chain
--   q.due    zset  chain -> ms at which it is due; for a leased chain the end of its lease
--   q.state  hash  chain -> "head tail runs failures crashes token", token "-" when nobody holds a lease
--   q.items  hash  "chain|n" -> item number n, head <= n <= tail; of an item that was out under a lease that ended
--                  unfinished also "chain|mark" -> token of the lease that had a process for itself (see chain_mark), and
--                  "chain|alone" -> how many of its crashes happened under such a lease
-- All of them live as long as there is something in them, and no longer.

local function unpack_state(packed)
  local head, tail, runs, failures, crashes, token = string.match(packed, '^(%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  return {
    head = tonumber(head), tail = tonumber(tail), runs = tonumber(runs),
    failures = tonumber(failures), crashes = tonumber(crashes), token = token,
  }
end

local function save_state(q, chain, s)
  redis.call('HSET', q.state, chain,
    string.format('%d %d %d %d %d %s', s.head, s.tail, s.runs, s.failures, s.crashes, s.token))
end

-- Let the script through a full Redis: it refuses to begin with a write that needs memory, not to go on with one.
-- Workers must be able to finish what lies there, or it would stay full for ever.
local function begin_even_when_full(q)
  redis.call('HDEL', q.items, '')
end

-- Give the account its place among the ready ones: behind all that have waited longer.
local function settle(q, account)
  local first = redis.call('ZRANGE', q.due, 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', q.ready, account)
    return
  end
  redis.call('ZADD', q.ready, string.format('%.3f', math.max(tonumber(first[2]), now_exact())), account)
end

local function append(q, account, chain, item, now)
  local packed = redis.call('HGET', q.state, chain)
  local s
  if packed then
    s = unpack_state(packed)
    s.tail = s.tail + 1
  else
    s = {head = 1, tail = 1, runs = 0, failures = 0, crashes = 0, token = '-'}
    redis.call('ZADD', q.due, string.format('%.0f', now), chain)
    redis.call('ZADD', q.ready, 'LT', string.format('%.0f', now), account)
  end
  redis.call('HSET', q.items, chain .. '|' .. s.tail, item)
  save_state(q, chain, s)
end

-- The chain's state if this lease still holds it at this item, else nil.
local function held(q, chain, token, seq)
  local packed = redis.call('HGET', q.state, chain)
  if not packed then return nil end
  local s = unpack_state(packed)
  if s.token ~= token or s.head ~= seq then return nil end
  return s
end

-- End the lease. `pop` items at the head are dropped; with none the chain is due again after `delay` ms.
local function finish(q, account, chain, s, pop, delay, now)
  s.token = '-'
  if s.crashes > 0 then
    redis.call('HDEL', q.items, chain .. '|mark')
    if pop > 0 then redis.call('HDEL', q.items, chain .. '|alone') end
  end
  for n = s.head, s.head + pop - 1 do redis.call('HDEL', q.items, chain .. '|' .. n) end
  if pop > 0 then
    s.head, s.runs, s.failures, s.crashes = s.head + pop, 0, 0, 0
    delay = 0
  end
  if s.head > s.tail then
    redis.call('HDEL', q.state, chain)
    redis.call('ZREM', q.due, chain)
  else
    save_state(q, chain, s)
    redis.call('ZADD', q.due, string.format('%.0f', now + delay), chain)
  end
  settle(q, account)
end
