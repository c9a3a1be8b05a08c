-- Tells whether such calls were stopped after a permit was given: by a pause, or by a breaker that opened.
--
-- KEYS: 1 credential's breaker, 2 operation's pause, 3 workspace's pause, 4 operation's failure breaker,
--       5 workspace's failure breaker, 6 when the operation's breaker closed last

for _, key in ipairs({KEYS[1], KEYS[2], KEYS[3]}) do
  if redis.call('PTTL', key) > 0 then return 1 end
end
local recovered = tonumber(redis.call('GET', KEYS[6]) or '0') or 0
for _, key in ipairs({KEYS[4], KEYS[5]}) do
  local ends, changed = unpack(redis.call('HMGET', key, 'until', 'changed'))
  if (tonumber(ends or '0') or 0) > now and (tonumber(changed or '0') or 0) > recovered then return 1 end
end
return 0
