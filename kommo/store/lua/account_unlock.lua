--! uses _time
-- End the renewal of an account's tokens.
--
-- KEYS[1] lock  string  who renews now
-- KEYS[2] pause hash    failed: renewals in a row that came to nothing; until: ms before which nobody begins another;
--                       fault, client: why, and the mark of the client whose fault it is, "" when it is nobody's. Gone an
--                       hour after the last failure, and when the account is stored.
-- ARGV: token of the one who ends; when it has failed, then also: first pause (ms), longest, least, fault, client
-- Returns 1, or 0 when the lock had passed to somebody else.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if not ARGV[2] then return 1 end
local failed = redis.call('HINCRBY', KEYS[2], 'failed', 1)
local pause = math.min(tonumber(ARGV[3]), tonumber(ARGV[2]) * 2 ^ math.min(failed - 1, 20))
pause = math.max(pause, tonumber(ARGV[4]))
redis.call('HSET', KEYS[2], 'until', string.format('%.0f', now_ms() + pause), 'fault', ARGV[5], 'client', ARGV[6])
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', pause + 3600000))
return 1
