-- Store an account: anew, or in place of the version that somebody has read.
--
-- KEYS[1] record hash    sealed (see vault.py), version, state, reason, installed: unix seconds of its installation,
--                        tried: unix seconds of the last renewal that was begun
-- KEYS[2] lock   string  who renews the account's tokens now; lives as long as a renewal may last
-- KEYS[3] known  set     the stored accounts of this shard
-- KEYS[4] pause  hash    see account_unlock.lua; a change may have mended what renewals failed for
-- ARGV: account, sealed, state, reason, expected version or "" for whatever is there, lock token or "", installed at,
--       1 to leave an installation of that time or a later one as it is
-- A renewal that is under way has spent the refresh token that is stored: whoever else changed the record meanwhile
-- would make its result unwelcome, and the account would be lost. So nobody but the renewal itself may, unless
-- everything is stored anew.
-- Returns the new version; 0 when it is no longer the expected one, or was left; -1 when somebody else renews.

if ARGV[5] ~= '' then
  if redis.call('HGET', KEYS[1], 'version') ~= ARGV[5] then return 0 end
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= ARGV[6] then return -1 end
end
if ARGV[8] == '1' and tonumber(redis.call('HGET', KEYS[1], 'installed') or '-1') >= tonumber(ARGV[7]) then return 0 end
redis.call('HSET', KEYS[1], 'sealed', ARGV[2], 'state', ARGV[3], 'reason', ARGV[4], 'installed', ARGV[7])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
