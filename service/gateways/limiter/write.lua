-- Lets a call that has a permit be written now, or says why not. A permit becomes void by a pause, by a breaker that
-- opened, or with the memory that knew it. And permits are spaced, but a server that stalls between permit and write
-- gathers calls, so the writes of the last second are counted too.
--
-- KEYS: 1 credential's breaker, 2 operation's pause, 3 operation's slow start, 4 workspace's pause, 5 workspace's slow start,
--       6 operation's failure breaker, 7 workspace's failure breaker, 8 when the operation's breaker closed last,
--       9 born, 10 in flight, 11 operation's writes, 12 workspace's writes
-- ARGV: 1 permit id, 2 operation's rate, 3 workspace's rate (0 = no limit)
-- Answers 0: now; -1: never; else after how many milliseconds to ask again.

local SECOND = 1050 -- and a little more: on their way calls may come closer together
local NEVER = -1

local ends = tonumber(redis.call('ZSCORE', KEYS[10], ARGV[1]) or '0')
if not is_born(KEYS[9]) or ends <= now then return NEVER end
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do
  if redis.call('PTTL', key) > 0 then return NEVER end
end
local recovered = tonumber(redis.call('GET', KEYS[8]) or '0') or 0
for _, key in ipairs({KEYS[6], KEYS[7]}) do
  local until_then, changed = unpack(redis.call('HMGET', key, 'until', 'changed'))
  if (tonumber(until_then or '0') or 0) > now and (tonumber(changed or '0') or 0) > recovered then return NEVER end
end

-- In the second after a pause a scope has half its rate; a workspace without a rate of its own half the operation's.
local function most_in_a_second(rate, burst, slow, otherwise)
  local is_slow = redis.call('PTTL', slow) > 0
  if rate == 0 and is_slow then rate = otherwise end
  if rate == 0 then return math.huge end
  return math.max(1, math.floor(is_slow and rate / 2 + 1 or rate + burst))
end

local function wait_for_room(writes, most)
  redis.call('ZREMRANGEBYSCORE', writes, '-inf', now - SECOND)
  local too_many = redis.call('ZCARD', writes) - most
  if too_many < 0 then return 0 end
  local _, written_at = unpack(redis.call('ZRANGE', writes, too_many, too_many, 'WITHSCORES'))
  return math.ceil(tonumber(written_at) + SECOND - now) + 1
end

-- A workspace has a rate because the vendor has one for it: that has no burst.
local rate, workspace_rate = tonumber(ARGV[2]), tonumber(ARGV[3])
local wait = math.max(
  wait_for_room(KEYS[11], most_in_a_second(rate, math.max(1, rate / 4), KEYS[3], 0)),
  wait_for_room(KEYS[12], most_in_a_second(workspace_rate, 0, KEYS[5], rate))
)
if wait > 0 then return wait end
for _, key in ipairs({KEYS[11], KEYS[12]}) do
  redis.call('ZADD', key, now, ARGV[1])
  redis.call('PEXPIRE', key, 2 * SECOND)
end
return 0
