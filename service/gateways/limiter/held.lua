-- Tells whether a permit has become void: by a pause, by a breaker that opened, or with the memory that knew it.
--
-- KEYS: 1 credential's breaker, 2 operation's pause, 3 operation's slow start, 4 workspace's pause, 5 workspace's slow start,
--       6 operation's failure breaker, 7 workspace's failure breaker, 8 when the operation's breaker closed last,
--       9 born, 10 in flight
-- ARGV: 1 permit id

local ends = tonumber(redis.call('ZSCORE', KEYS[10], ARGV[1]) or '0')
if not is_born(KEYS[9]) or ends <= now then return 1 end

for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do
  if redis.call('PTTL', key) > 0 then return 1 end
end
local recovered = tonumber(redis.call('GET', KEYS[8]) or '0') or 0
for _, key in ipairs({KEYS[6], KEYS[7]}) do
  local until_then, changed = unpack(redis.call('HMGET', key, 'until', 'changed'))
  if (tonumber(until_then or '0') or 0) > now and (tonumber(changed or '0') or 0) > recovered then return 1 end
end
return 0
