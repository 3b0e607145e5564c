-- Look at a page of old deliveries and drop those that may go, never one that is not drained and handled.
--
-- KEYS[1] stream  stream  deliveries of the account
-- KEYS[2] cursor  string  id of the last drained entry
-- KEYS[3] open    hash    stream id -> steps not finished yet
-- KEYS[4] stats   hash    counters of the account; `bytes` is what the stream's bodies weigh
-- ARGV: keep those received after (ms), keep at most so many bytes, look at those after this id, look at most at so many
-- Returns {id to go on after, or "" when the rest is to be kept; delivery id of each that was dropped ...}.

local keep_after, keep_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local cursor = redis.call('GET', KEYS[2]) or '0-0'
local bytes = tonumber(redis.call('HGET', KEYS[4], 'bytes') or '0')
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[3], cursor, 'COUNT', ARGV[4])
local dropped, last = {}, ''
for _, entry in ipairs(entries) do
  local id, fields = entry[1], entry[2]
  if tonumber(string.match(id, '^(%d+)')) >= keep_after and bytes <= keep_bytes then
    last = ''
    break
  end
  last = id
  if redis.call('HEXISTS', KEYS[3], id) == 0 then
    bytes = bytes - #fields[8]
    redis.call('XDEL', KEYS[1], id)
    dropped[#dropped + 1] = fields[2]
  end
end
if #dropped > 0 then redis.call('HSET', KEYS[4], 'bytes', string.format('%.0f', math.max(bytes, 0))) end
return {last, unpack(dropped)}
