-- Let the next call of a parked account try whether it still has to be.
--
-- KEYS[1] parked  hash  see park_admit
-- Returns 1, or 0 when the account is not parked.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'until', 0)
return 1
