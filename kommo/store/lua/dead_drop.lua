--! uses _dead
-- Drop a dead letter.
--
-- KEYS[1] dead, KEYS[2] index   (see _dead)
-- KEYS[3] stats  hash  counters of the account
-- ARGV: account, letter id, digest of the letter as it was read
-- Returns 1, or 0 when it is gone or another one by now.

if not take_letter(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]) then return 0 end
redis.call('HINCRBY', KEYS[3], 'dropped', 1)
return 1
