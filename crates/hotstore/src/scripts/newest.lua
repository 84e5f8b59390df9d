-- Sets each key to its value unless the value in place was received later.
-- KEYS: keys. ARGV: for each key its value, its recv_time, and the milliseconds it may live.
-- Answers how many were set.
--
-- Times in nanoseconds do not fit Lua's numbers, so they are compared as text: without leading
-- zeros the longer one is later. A foreign type or a value without a time is replaced.
local set = 0
for i, key in ipairs(KEYS) do
  local value, time, life = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local old = redis.pcall('GET', key)
  local since = type(old) == 'string' and string.match(old, '"recv_time"%s*:%s*(%d+)')
  if not since or #since < #time or (#since == #time and since <= time) then
    redis.call('SET', key, value, 'PX', life)
    set = set + 1
  end
end
return set
