-- Shared: the one clock, Redis's own. Whole milliseconds fit a Lua number exactly; print them with %.0f.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The same moment to the microsecond, for places in a row: who is sent to the back twice within a millisecond must
-- not come before who waits since its beginning. A double holds it; print it with %.3f.
local function now_exact()
  local t = redis.call('TIME')
  return t[1] * 1000 + t[2] / 1000
end
