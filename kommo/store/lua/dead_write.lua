--! uses _time _chains _wake _dead
-- Put the write of a dead letter back at the end of its chain, and take the letter away.
--
-- KEYS[1] dead, KEYS[2] index   (see _dead)
-- KEYS[3] stats  hash  counters of the account
-- KEYS[4..7]     outbox: ready, due, state, items (see _chains, outbox_take)
-- KEYS[8] awake, KEYS[9] flag   flush loops (see _wake)
-- KEYS[10] result  string  "failed", for the writes that refer to this one: no longer
-- ARGV: account, letter id, digest of the letter as it was read, chain, item
-- Returns {1 put back, wake a flush loop}, or {0, 0} when the letter is gone or another one by now.

local account = ARGV[1]
if not take_letter(KEYS[1], KEYS[2], account, ARGV[2], ARGV[3]) then return {0, 0} end
local outbox = {ready = KEYS[4], due = KEYS[5], state = KEYS[6], items = KEYS[7]}
local now = now_ms()
redis.call('DEL', KEYS[10])
append(outbox, account, ARGV[4], ARGV[5], now)
redis.call('HINCRBY', KEYS[3], 'writes', 1)
redis.call('HINCRBY', KEYS[3], 'retried', 1)
return {1, wake_needed(KEYS[8], KEYS[9], now)}
