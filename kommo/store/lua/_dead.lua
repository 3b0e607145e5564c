-- Shared: take a dead letter away, if it is still the one that was looked at.
--   dead   hash  dead letter id -> record
--   index  zset  "account:id" -> ms, over all accounts of the shard

-- True when this call has taken it: only one of those who want the same letter does. Takes it first of all, which a full
-- Redis lets through, and then the writes after it.
local function take_letter(dead, index, account, id, digest)
  local record = redis.call('HGET', dead, id)
  if not record or redis.sha1hex(record) ~= digest then return false end
  redis.call('HDEL', dead, id)
  redis.call('ZREM', index, account .. ':' .. id)
  return true
end
