--! uses _time _chains
-- Lease the heads of chains that may share one request, the longest waiting first, each with what may go along.
--
-- KEYS[1] ready, KEYS[2] due, KEYS[3] state, KEYS[4] items   (see _chains); items also holds
--         "chain|leased" -> how many creations of the chain are out under its lease
-- KEYS[5] size  string  fewer writes a request than usual, because Kommo could not cope; ends by itself
-- ARGV: account, token, lease (ms), how many writes in all at most, how many of one chain at most, how many due chains
--       to look at
-- Returns {more, lease, lease ...}: `more` is how many chains were due beyond those leased; a lease is
-- {chain, item number, runs, failures, crashes, item, item ...}.
--
-- An item is its kind, a line feed, and its record. Items of one kind may share a request; one that begins with "!" goes
-- alone, and so does one that begins with "?": a creation of which nobody knows whether Kommo has done it. Items whose
-- kind ends in ":update" change their chain's entity and count as one write.

local q = {ready = KEYS[1], due = KEYS[2], state = KEYS[3], items = KEYS[4]}
local account, token, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most, depth, scan = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
most = math.min(most, tonumber(redis.call('GET', KEYS[5]) or most))
local now = now_ms()
begin_even_when_full(q)

local function kind_of(item) return string.match(item, '^([^\n]*)\n') or '!' end

local function goes_alone(kind)
  local mark = string.sub(kind, 1, 1)
  return mark == '!' or mark == '?'
end

-- What was out under a lease that ended unfinished may have been sent.
local function doubt(chain, s)
  local leased = tonumber(redis.call('HGET', q.items, chain .. '|leased') or '0')
  for n = s.head, math.min(s.head + leased - 1, s.tail) do
    local item = redis.call('HGET', q.items, chain .. '|' .. n)
    if string.sub(item, 1, 1) ~= '?' then redis.call('HSET', q.items, chain .. '|' .. n, '?' .. item) end
  end
end

local due = redis.call('ZRANGE', q.due, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, scan)
local kind, writes, leases = nil, 0, {}
for _, chain in ipairs(due) do
  if writes >= most or (kind and goes_alone(kind)) then break end
  local s = unpack_state(redis.call('HGET', q.state, chain))
  if s.token ~= '-' then doubt(chain, s) end
  local head = redis.call('HGET', q.items, chain .. '|' .. s.head)
  if not kind or kind_of(head) == kind then
    kind = kind_of(head)
    local alone = goes_alone(kind)
    if s.token ~= '-' then s.crashes = s.crashes + 1 end
    s.token = token
    save_state(q, chain, s)
    redis.call('ZADD', q.due, string.format('%.0f', now + lease), chain)
    local row = {chain, s.head, s.runs, s.failures, s.crashes, head}
    writes = writes + 1
    local patches = string.find(kind, ':update$')
    for n = s.head + 1, math.min(s.tail, s.head + depth - 1) do
      local item = redis.call('HGET', q.items, chain .. '|' .. n)
      if alone or kind_of(item) ~= kind or (not patches and writes >= most) then break end
      if not patches then writes = writes + 1 end
      row[#row + 1] = item
    end
    if string.find(kind, ':create') then redis.call('HSET', q.items, chain .. '|leased', #row - 5) end
    leases[#leases + 1] = row
  end
end
settle(q, account)
local more = redis.call('ZCOUNT', q.due, '-inf', string.format('%.0f', now))
return {more, unpack(leases)}
