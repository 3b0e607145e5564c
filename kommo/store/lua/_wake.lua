-- Shared: whether a loop has to be woken for new work.
--   awake  zset    loop -> ms at which its lease ends; loops refresh it while they work
--   flag   string  a wake-up was sent and no loop has come yet; ends by itself, so that a lost wake-up costs
--                  WAKE_MS and no more

local WAKE_MS = 1000

local function wake_needed(awake, flag, now)
  if redis.call('ZCOUNT', awake, string.format('(%.0f', now), '+inf') > 0 then return 0 end
  if redis.call('SET', flag, '1', 'NX', 'PX', WAKE_MS) then return 1 end
  return 0
end
