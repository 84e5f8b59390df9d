-- Sets each key to its value unless the value in place was received later.
-- KEYS: keys. ARGV: for each key its value, its recv_time, the milliseconds it may live, and for how
-- many seconds the value in place may have been received later and still be the newer one; beyond
-- that its clock has been set back since. Empty: however long. Answers how many were set.
--
-- Times in nanoseconds do not fit Lua's numbers, so they are compared as text: without leading
-- zeros the longer one is later. A foreign type or a value without a time is replaced.
local function seconds(nanos)
  return tonumber(string.sub(nanos, 1, -10)) or 0
end

local set = 0
for i, key in ipairs(KEYS) do
  local value, time, life, apart = unpack(ARGV, 4 * i - 3, 4 * i)
  local old = redis.pcall('GET', key)
  local since = type(old) == 'string' and string.match(old, '"recv_time"%s*:%s*(%d+)')
  local newer = not since or #since < #time or (#since == #time and since <= time)
  if not newer and apart ~= '' then
    newer = seconds(since) - seconds(time) > tonumber(apart)
  end
  if newer then
    redis.call('SET', key, value, 'PX', life)
    set = set + 1
  end
end
return set
