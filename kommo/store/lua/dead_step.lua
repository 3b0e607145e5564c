--! uses _time _chains _wake _dead
-- Put the step of a dead letter back at the end of its lane, and take the letter away.
--
-- KEYS[1] dead, KEYS[2] index   (see _dead)
-- KEYS[3] stats  hash  counters of the account
-- KEYS[4..7]     lanes: ready, due, state, items (see _chains)
-- KEYS[8] awake, KEYS[9] flag   run loops (see _wake)
-- KEYS[10] open  hash  stream id -> steps of that delivery not finished yet
-- ARGV: account, letter id, digest of the letter as it was read, lane, record of the step, stream id or ""
-- Returns {1 put back, wake a run loop}, or {0, 0} when the letter is gone or another one by now.

local account = ARGV[1]
if not take_letter(KEYS[1], KEYS[2], account, ARGV[2], ARGV[3]) then return {0, 0} end
local lanes = {ready = KEYS[4], due = KEYS[5], state = KEYS[6], items = KEYS[7]}
local now = now_ms()
append(lanes, account, ARGV[4], ARGV[5], now)
if ARGV[6] ~= '' then redis.call('HINCRBY', KEYS[10], ARGV[6], 1) end
redis.call('HINCRBY', KEYS[3], 'steps', 1)
redis.call('HINCRBY', KEYS[3], 'retried', 1)
return {1, wake_needed(KEYS[8], KEYS[9], now)}
