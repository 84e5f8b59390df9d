-- Puts trades where their ids belong, each id once, and keeps the last ones.
-- KEYS: the key. ARGV: the milliseconds the newest may live, how many are kept, and then for each
-- trade its id and its value.
-- Answers how many are kept. A foreign type is replaced.
local key, life, keep = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('TYPE', key).ok
if held ~= 'zset' and held ~= 'none' then
  redis.call('DEL', key)
end
for i = 3, #ARGV, 2 do
  redis.call('ZREMRANGEBYSCORE', key, ARGV[i], ARGV[i])
end
redis.call('ZADD', key, unpack(ARGV, 3))
redis.call('ZREMRANGEBYRANK', key, 0, -keep - 1)
if redis.call('PTTL', key) < life then
  redis.call('PEXPIRE', key, life)
end
return redis.call('ZCARD', key)
