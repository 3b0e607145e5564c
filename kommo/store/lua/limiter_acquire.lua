--! uses _time
-- Take one slot in every scope, or none.
--
-- Per scope i, KEYS[4i-3] slots  zset    slot -> ms at which it is free again; at most `limit` members
--              KEYS[4i-2] queue  zset    ticket -> ms since which it waits here; only tickets this scope held up
--              KEYS[4i-1] pause  string  ms until which Kommo wants to be left alone; gone by itself, unless it ends in
--                                        "!": then the scope is blocked until limiter_block's careful call has worked
--              KEYS[4i]   less   string  how many slots fewer there are for a while, after answers 429; gone by itself
-- KEYS[last]    tickets zset    ticket -> ms at which it expires, over all scopes
-- ARGV: slot, ticket, lease (ms), life of a ticket (ms), head start (ms), then the limit of each scope
-- Returns {0, 0} when the slots are taken, {ms to wait before asking again, 0}, or {0, ms} when Kommo wants to be left
-- alone for longer than anybody should wait here.
--
-- A slot is held from the request until one second after its answer (limiter_release); so never more than `limit`
-- requests arrive at the server in one second, whatever the network delays. A slot whose holder died ends with its lease.
-- Waiting is fair: a free slot goes to the ticket that this scope has kept waiting longest. Who has a head start comes
-- before all that have waited for less than that. A call that another scope holds up keeps no place here. A ticket that
-- does not ask again expires, so that a dead waiter holds up nobody.

-- How long a waiter sleeps at most before it asks again: slots in use free earlier than their lease says.
local LONGEST_WAIT_MS = 50
local LONGEST_PAUSE_MS = 1000

local slot, ticket, lease, life = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local tickets = KEYS[#KEYS]
local scopes = (#KEYS - 1) / 4
local now = now_ms()
local stamp = string.format('%.0f', now)
local since = string.format('%.0f', now - tonumber(ARGV[5]))
local wait, alone = 0, 0

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
  local slots, queue, pause, less = KEYS[4 * i - 3], KEYS[4 * i - 2], KEYS[4 * i - 1], KEYS[4 * i]
  local limit = math.max(1, tonumber(ARGV[5 + i]) - tonumber(redis.call('GET', less) or '0'))
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', stamp)
  local ends = redis.call('GET', pause) or '0'
  local paused = tonumber((string.gsub(ends, '!', ''))) - now
  if string.sub(ends, -1) == '!' then paused = math.max(paused, LONGEST_PAUSE_MS + 1) end
  local before = live_before(queue, ticket, limit)
  local missing = before + 1 - (limit - redis.call('ZCARD', slots))
  if paused > LONGEST_PAUSE_MS then
    alone = math.max(alone, paused)
  elseif paused > 0 then
    wait = math.max(wait, paused)
  elseif missing > 0 then
    local first = redis.call('ZRANGE', slots, missing - 1, missing - 1, 'WITHSCORES')
    local free_in = first[2] and (tonumber(first[2]) - now) or LONGEST_WAIT_MS
    wait = math.max(wait, math.min(math.max(free_in, 1), LONGEST_WAIT_MS))
    redis.call('ZADD', queue, 'NX', since, ticket)
  else
    redis.call('ZREM', queue, ticket)
  end
end

if alone > 0 then
  redis.call('ZREM', tickets, ticket)
  return {0, alone}
end
if wait > 0 then
  redis.call('ZADD', tickets, string.format('%.0f', now + life), ticket)
  redis.call('ZREMRANGEBYSCORE', tickets, '-inf', stamp)
  return {wait, 0}
end
for i = 1, scopes do
  redis.call('ZADD', KEYS[4 * i - 3], string.format('%.0f', now + lease), slot)
  redis.call('PEXPIRE', KEYS[4 * i - 3], lease + 2000)
end
redis.call('ZREM', tickets, ticket)
return {0, 0}
