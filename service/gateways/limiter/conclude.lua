-- Takes a permit back, and keeps what the call's outcome means for the calls of others.
--
-- KEYS: 1 in flight, 2 proven, 3 refusals, 4 breaker, 5 operation's pause, 6 operation's slow start,
--       7 workspace's pause, 8 workspace's slow start, 9 last workspace that was throttled without a reason
-- ARGV: 1 permit id, 2 what happened (nothing, accepted, refused, throttled_operation, throttled_workspace,
--       throttled_unknown), 3 pause, 4 refusals when the permit was granted, 5 workspace

local SLOW_START = 1000
local SAME_THROTTLE = 2000 -- two workspaces throttled so close together share the reason: the credential

-- A pause is only ever made longer: of two answers the one that names the later time is right.
local function pause(key, slow, milliseconds)
  if redis.call('PTTL', key) < milliseconds then
    redis.call('SET', key, '1', 'PX', milliseconds)
    redis.call('SET', slow, '1', 'PX', milliseconds + SLOW_START)
  end
end

redis.call('ZREM', KEYS[1], ARGV[1])
local happened, milliseconds = ARGV[2], tonumber(ARGV[3])
if happened == 'accepted' then
  -- A call that began before the key was refused proves nothing about it now.
  if tonumber(redis.call('GET', KEYS[3]) or '0') == tonumber(ARGV[4]) then redis.call('SET', KEYS[2], '1') end
elseif happened == 'refused' then
  redis.call('INCR', KEYS[3])
  redis.call('DEL', KEYS[2])
  if redis.call('PTTL', KEYS[4]) < milliseconds then redis.call('SET', KEYS[4], '1', 'PX', milliseconds) end
elseif happened == 'throttled_operation' then
  pause(KEYS[5], KEYS[6], milliseconds)
elseif happened == 'throttled_workspace' then
  pause(KEYS[7], KEYS[8], milliseconds)
elseif happened == 'throttled_unknown' then
  pause(KEYS[7], KEYS[8], milliseconds)
  local other = redis.call('GET', KEYS[9])
  if other and other ~= ARGV[5] then pause(KEYS[5], KEYS[6], milliseconds) end
  redis.call('SET', KEYS[9], ARGV[5], 'PX', SAME_THROTTLE)
end
return 1
