--! uses _time
-- Leave Kommo alone for a while, and allow fewer requests a second for a longer one: it answered 429.
--
-- Per scope i, KEYS[2i-1] pause, KEYS[2i] less   (see limiter_acquire)
-- ARGV: pause (ms; 0 for the backoff: 1 s, twice as long with each answer, at most ARGV[2]), longest backoff (ms),
--       how long fewer are allowed (ms), then per scope how many fewer there can be
-- Returns the pause in ms.

local asked, longest, life = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now = now_ms()
local paused = asked
for i = 1, #KEYS / 2 do
  local pause, less = KEYS[2 * i - 1], KEYS[2 * i]
  local fewer = tonumber(redis.call('GET', less) or '0')
  local before = redis.call('GET', pause) or '0'
  if string.sub(before, -1) ~= '!' then
    before = tonumber(before)
    -- Calls under way together are refused together: that is one warning, not several.
    if before <= now then fewer = math.min(fewer + 1, tonumber(ARGV[3 + i])) end
    if asked == 0 then paused = math.min(longest, 1000 * 2 ^ math.max(fewer - 1, 0)) end
    if fewer > 0 then redis.call('SET', less, string.format('%.0f', fewer), 'PX', life) end
    local ends = math.max(now + paused, before)
    redis.call('SET', pause, string.format('%.0f', ends), 'PX', string.format('%.0f', math.max(1, ends - now)))
  end
end
return paused
