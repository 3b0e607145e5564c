-- End the renewal of an account's tokens.
--
-- KEYS[1] lock  string  who renews now
-- ARGV: token of the one who ends, ms for which nobody is to begin another one
-- Returns 1, or 0 when the lock had passed to somebody else.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
