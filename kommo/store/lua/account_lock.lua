-- Begin, or go on with, the renewal of an account's tokens.
--
-- KEYS[1] record hash    see account_store.lua
-- KEYS[2] lock   string  who renews now
-- ARGV: token of the one who asks, lease (ms), the version that it wants to renew
-- Returns 1 it may, for the length of the lease; 0 somebody else does; -1 the version has moved on, nothing is to do.

if redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then return -1 end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
