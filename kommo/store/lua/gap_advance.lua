--! uses _time
-- Note up to where a gap is filled, and go on with it or let go of it.
--
-- KEYS[1] gap  hash  see gap_open
-- ARGV: token, position that was known, new position, lease (ms), 0 to let go
-- Returns {outcome, until, position}: outcome 1 go on, 2 all is filled and the gap is forgotten, 0 another process
-- fills it, or it was forgotten. The position is another one than asked for when the gap has grown at its beginning meanwhile.

local known = redis.call('HMGET', KEYS[1], 'token', 'position', 'until')
if known[1] ~= ARGV[1] then return {0, '0', '0'} end
local position = known[2]
if position == ARGV[2] then
  position = ARGV[3]
  redis.call('HSET', KEYS[1], 'position', position)
end
if known[3] ~= '0' and tonumber(position) >= tonumber(known[3]) then
  redis.call('DEL', KEYS[1])
  return {2, known[3], position}
end
if ARGV[4] == '0' then
  redis.call('HDEL', KEYS[1], 'token', 'lease')
else
  redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now_ms() + ARGV[4]))
end
return {1, known[3], position}
