--! uses _time
-- Ask whether a call of a parked account may go out.
--
-- KEYS[1] parked  hash  reason; until: ms of the next call that tries whether it is over; every: ms between two of
--                       them; reads: "1" when reads are refused too. Gone when the account is not parked.
-- ARGV: 1 for a read
-- Returns {0} it may, {1} it may, as the one that tries, or {2, ms to wait, reason}.

local reason = redis.call('HGET', KEYS[1], 'reason')
if not reason then return {0} end
if ARGV[1] == '1' and redis.call('HGET', KEYS[1], 'reads') ~= '1' then return {0} end
local now = now_ms()
local left = tonumber(redis.call('HGET', KEYS[1], 'until')) - now
if left > 0 then return {2, left, reason} end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + tonumber(redis.call('HGET', KEYS[1], 'every'))))
return {1}
