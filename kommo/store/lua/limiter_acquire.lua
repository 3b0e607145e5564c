--! uses _time
-- Take one slot in every scope, or none.
--
-- Per scope i, KEYS[5i-4] slots  zset    slot -> ms at which it is free again; at most `limit` members
--              KEYS[5i-3] queue  zset    ticket -> ms since which it waits here; only tickets this scope held up
--              KEYS[5i-2] last   string  ms at which a slot was taken last; lives a second
--              KEYS[5i-1] pause  string  ms until which Kommo wants to be left alone; gone by itself, unless it ends in
--                                        "!": then the scope is blocked until limiter_block's careful call has worked
--              KEYS[5i]   less   string  how many slots fewer there are for a while, after answers 429; gone by itself
-- KEYS[last]    tickets zset    ticket -> ms at which it expires, over all scopes
-- ARGV: slot, ticket, lease (ms), life of a ticket (ms), head start (ms), spacing (see below), then the limit of
--       each scope
-- Returns {0, 0, 0} when the slots are taken, {ms to wait before asking again, 0, number of the first scope that has
-- none}, or {0, ms, 0} when Kommo wants to be left alone for longer than anybody should wait here.
--
-- A slot is held from the request until one second after its answer (limiter_release); so never more than `limit`
-- requests arrive at the server in one second, whatever the network delays. A slot whose holder died ends with its lease.
-- Waiting is fair: a free slot goes to the ticket that this scope has kept waiting longest. Who has a head start comes
-- before all that have waited for less than that. A call that another scope holds up keeps no place here. A ticket that
-- does not ask again expires, so that a dead waiter holds up nobody.
--
-- Who asks for spacing takes the second half of a scope's slots one after another, that share of a second divided by the
-- limit apart: taken all at once they would all be free at once, and whoever came right after would wait for a whole
-- second. Below a share of 1 it costs nothing of the rate, as each slot comes back at its own time.

-- How long a waiter sleeps at most before it asks again: slots in use free earlier than their lease says.
local LONGEST_WAIT_MS = 50
local LONGEST_PAUSE_MS = 1000

local slot, ticket, lease, life = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local tickets = KEYS[#KEYS]
local scopes = (#KEYS - 1) / 5
local now = now_ms()
local stamp = string.format('%.0f', now)
local spacing = tonumber(ARGV[6])
local since = string.format('%.0f', now - tonumber(ARGV[5]))
local wait, alone, short = 0, 0, 0

-- How many live tickets wait before this one; no more are counted than matter.
local function live_before(queue, own, enough)
  local before = 0
  local mine = tonumber(redis.call('ZSCORE', queue, own) or since)
  local waiting = redis.call('ZRANGE', queue, 0, -1, 'WITHSCORES')
  for w = 1, #waiting, 2 do
    local other = waiting[w]
    if other == own or before >= enough or tonumber(waiting[w + 1]) > mine then break end
    local ends = redis.call('ZSCORE', tickets, other)
    if ends and tonumber(ends) > now then
      before = before + 1
    else
      redis.call('ZREM', queue, other)
    end
  end
  return before
end

for i = 1, scopes do
  local slots, queue, last = KEYS[5 * i - 4], KEYS[5 * i - 3], KEYS[5 * i - 2]
  local pause, less = KEYS[5 * i - 1], KEYS[5 * i]
  local limit = math.max(1, tonumber(ARGV[6 + i]) - tonumber(redis.call('GET', less) or '0'))
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', stamp)
  local ends = redis.call('GET', pause) or '0'
  local paused = tonumber((string.gsub(ends, '!', ''))) - now
  if string.sub(ends, -1) == '!' then paused = math.max(paused, LONGEST_PAUSE_MS + 1) end
  local before = live_before(queue, ticket, limit)
  local taken = redis.call('ZCARD', slots)
  local missing = before + 1 - (limit - taken)
  local gap = 0
  if spacing > 0 and taken >= limit / 2 then
    gap = tonumber(redis.call('GET', last) or '0') + math.floor(1000 * spacing / limit) - now
  end
  if paused > LONGEST_PAUSE_MS then
    alone = math.max(alone, paused)
  elseif paused > 0 then
    wait = math.max(wait, paused)
  elseif missing > 0 then
    local first = redis.call('ZRANGE', slots, missing - 1, missing - 1, 'WITHSCORES')
    local free_in = first[2] and (tonumber(first[2]) - now) or LONGEST_WAIT_MS
    wait = math.max(wait, math.min(math.max(free_in, 1), LONGEST_WAIT_MS))
    redis.call('ZADD', queue, 'NX', since, ticket)
    if short == 0 then short = i end
  elseif gap > 0 then
    wait = math.max(wait, gap)
    redis.call('ZADD', queue, 'NX', since, ticket)
    if short == 0 then short = i end
  else
    redis.call('ZREM', queue, ticket)
  end
end

if alone > 0 then
  redis.call('ZREM', tickets, ticket)
  return {0, alone, 0}
end
if wait > 0 then
  redis.call('ZADD', tickets, string.format('%.0f', now + life), ticket)
  redis.call('ZREMRANGEBYSCORE', tickets, '-inf', stamp)
  return {wait, 0, short}
end
for i = 1, scopes do
  redis.call('ZADD', KEYS[5 * i - 4], string.format('%.0f', now + lease), slot)
  redis.call('PEXPIRE', KEYS[5 * i - 4], lease + 2000)
  redis.call('SET', KEYS[5 * i - 2], stamp, 'PX', 1000)
end
redis.call('ZREM', tickets, ticket)
return {0, 0, 0}
