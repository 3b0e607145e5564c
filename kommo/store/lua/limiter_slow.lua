--! uses _time
-- Leave Kommo alone for a while, and allow fewer requests a second for a longer one: it answered 429.
--
-- Per scope i, KEYS[3i-2] pause, KEYS[3i-1] less   (see limiter_acquire)
--              KEYS[3i] warned  string  answers 429 in a row, for the backoff; ends with `less`
-- ARGV: pause (ms; 0 for the backoff: 1 s, twice as long with each answer, at most ARGV[2]), longest backoff (ms),
--       how long fewer are allowed (ms), then per scope how many fewer there can be
-- Returns the pause in ms.

local asked, longest, life = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now = now_ms()
local paused = asked
for i = 1, #KEYS / 3 do
  local pause, less, warned = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local fewer = tonumber(redis.call('GET', less) or '0')
  local before = redis.call('GET', pause) or '0'
  if string.sub(before, -1) ~= '!' then
    before = tonumber(before)
    -- Calls under way together are refused together: that is one warning, not several.
    local warnings = tonumber(redis.call('GET', warned) or '0')
    if before <= now then
      fewer, warnings = math.min(fewer + 1, tonumber(ARGV[3 + i])), warnings + 1
      redis.call('SET', warned, string.format('%.0f', warnings), 'PX', life)
    end
    if asked == 0 then paused = math.min(longest, 1000 * 2 ^ math.min(math.max(warnings - 1, 0), 20)) end
    if fewer > 0 then redis.call('SET', less, string.format('%.0f', fewer), 'PX', life) end
    local ends = math.max(now + paused, before)
    redis.call('SET', pause, string.format('%.0f', ends), 'PX', string.format('%.0f', math.max(1, ends - now)))
  end
end
return paused
