-- Store an account: anew, or in place of the version that somebody has read.
--
-- KEYS[1] record hash    sealed (see vault.py), version, state, reason
-- KEYS[2] lock   string  who renews the account's tokens now; lives as long as a renewal may last
-- KEYS[3] known  set     the stored accounts of this shard
-- ARGV: account, sealed, state, reason, expected version or "" for whatever is there, lock token or ""
-- A renewal that is under way has spent the refresh token that is stored: whoever else changed the record meanwhile
-- would make its result unwelcome, and the account would be lost. So nobody but the renewal itself may, unless
-- everything is stored anew.
-- Returns the new version; 0 when it is no longer the expected one; -1 when somebody else renews.

if ARGV[5] ~= '' then
  if redis.call('HGET', KEYS[1], 'version') ~= ARGV[5] then return 0 end
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= ARGV[6] then return -1 end
end
redis.call('HSET', KEYS[1], 'sealed', ARGV[2], 'state', ARGV[3], 'reason', ARGV[4])
redis.call('SADD', KEYS[3], ARGV[1])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
