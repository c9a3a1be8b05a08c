-- Takes a permit back, and keeps what the call's outcome means for the calls of others.
--
-- KEYS: 1 in flight, 2 proven, 3 refusals, 4 breaker, 5 operation's pause, 6 operation's slow start,
--       7 workspace's pause, 8 workspace's slow start, 9 last workspace that was throttled without a reason,
--       10 workspace's calls in flight, 11 operation's failure breaker, 12 workspace's failure breaker,
--       13 when the operation's breaker closed last, 14 retry budget, 15 lead of the workspace's failures,
--       16 workspaces that work, 17 workspaces whose breaker is open
-- ARGV: 1 permit id, 2 what happened (nothing, accepted, found: an earlier call had worked, failed, refused, throttled_operation, throttled_workspace,
--       throttled_unknown), 3 pause, 4 refusals when the permit was granted, 5 workspace, 6 whether it cost a retry,
--       7 first pause of a failure breaker, 8 its longest pause, 9 the call's name for a limiter that has forgotten the permit
-- Answers the breakers that changed: {whose, reason, now, until (0 = closed), openings} each.

local SLOW_START = 1000
local SAME_THROTTLE = 2000 -- two workspaces throttled so close together share the reason: the credential
local LEAD = 5 -- so many failures more than successes open a breaker
local LEAD_KEPT = 30000 -- after the last failure
local ACTIVE = 60000 -- a workspace that was called so recently counts as active
local OPEN_KEPT = 3600000 -- a breaker that nobody asks for so long after its time is forgotten
local MOST_RETRIES = 10
local MOST_OPENINGS = 1000000
local changes = {}

-- A pause is only ever made longer: of two answers the one that names the later time is right.
local function pause(key, slow, milliseconds)
  if redis.call('PTTL', key) < milliseconds then
    redis.call('SET', key, '1', 'PX', milliseconds)
    redis.call('SET', slow, '1', 'PX', milliseconds + SLOW_START)
  end
end

local function change(whose, reason, ends, openings)
  table.insert(changes, {whose, reason, string.format('%.0f', now), string.format('%.0f', ends), openings})
end

local function open(key, whose)
  local openings = tonumber(redis.call('HGET', key, 'openings') or '0') + 1
  local ends = now + math.min(tonumber(ARGV[7]) * 2 ^ math.min(openings - 1, 30), tonumber(ARGV[8]))
  redis.call('DEL', key)
  redis.call('HSET', key, 'until', tostring(ends), 'changed', tostring(now), 'openings', openings)
  redis.call('PEXPIRE', key, math.ceil(ends - now) + OPEN_KEPT)
  if whose == 'workspace' then
    redis.call('ZREM', KEYS[16], ARGV[5])
    redis.call('ZADD', KEYS[17], ends + OPEN_KEPT, ARGV[5])
    redis.call('DEL', KEYS[15])
  end
  change(whose, 'failures', ends, openings)
end

local function close(key, slow, whose)
  redis.call('DEL', key)
  redis.call('SET', slow, '1', 'PX', SLOW_START)
  if whose == 'workspace' then
    redis.call('ZREM', KEYS[17], ARGV[5])
  else
    redis.call('SET', KEYS[13], tostring(now), 'PX', OPEN_KEPT)
  end
  change(whose, 'failures', 0, 0)
end

local function most_are_open()
  redis.call('ZREMRANGEBYSCORE', KEYS[16], '-inf', now - ACTIVE)
  redis.call('ZREMRANGEBYSCORE', KEYS[17], '-inf', now)
  local closed, opened = redis.call('ZCARD', KEYS[16]), redis.call('ZCARD', KEYS[17])
  return opened >= 2 and opened > closed
end

local function add_retries(count)
  local left = redis.call('HGET', KEYS[14], 'left')
  if left then redis.call('HSET', KEYS[14], 'left', tostring(math.min(tonumber(left) + count, MOST_RETRIES))) end
end

check_value(KEYS[15], LEAD)
check_scores(KEYS[16], now + LENIENCE)
check_scores(KEYS[17], now + LONGEST_PAUSE + OPEN_KEPT)
for _, key in ipairs({KEYS[5], KEYS[6], KEYS[7], KEYS[8]}) do check_pause(key, LONGEST_PAUSE) end
for _, key in ipairs({KEYS[11], KEYS[12]}) do check_field(key, 'openings', MOST_OPENINGS) end
check_field(KEYS[14], 'left', MOST_RETRIES)
if stranger then return complaint() end

for _, key in ipairs({KEYS[1], KEYS[10]}) do redis.call('ZREM', key, ARGV[1], ARGV[9]) end
local happened, milliseconds = ARGV[2], tonumber(ARGV[3])
local operation_probed = redis.call('HGET', KEYS[11], 'probe') == ARGV[1]
local workspace_probed = redis.call('HGET', KEYS[12], 'probe') == ARGV[1]
if operation_probed then redis.call('HDEL', KEYS[11], 'probe', 'probe_until') end
if workspace_probed then redis.call('HDEL', KEYS[12], 'probe', 'probe_until') end

local is_found = happened == 'found'
if happened == 'accepted' or is_found then
  -- A call that began before the key was refused proves nothing about it now.
  local refusals = (tonumber(redis.call('GET', KEYS[3]) or '0') or 0)
  if refusals == tonumber(ARGV[4]) and redis.call('SET', KEYS[2], '1', 'GET') == false and refusals > 0 then
    change('credential', 'authentication', 0, 0)
  end
  if tonumber(redis.call('GET', KEYS[15]) or '0') > 0 then redis.call('DECR', KEYS[15]) end
  if is_found then redis.call('DEL', KEYS[15]) end
  if workspace_probed or (is_found and redis.call('EXISTS', KEYS[12]) == 1) then close(KEYS[12], KEYS[8], 'workspace') end
  if operation_probed or (is_found and redis.call('EXISTS', KEYS[11]) == 1) then close(KEYS[11], KEYS[6], 'credential') end
  if redis.call('EXISTS', KEYS[12]) == 0 then
    redis.call('ZADD', KEYS[16], now, ARGV[5])
    redis.call('PEXPIRE', KEYS[16], ACTIVE)
  end
  -- A retry that works costs nothing, and makes room for one more: after an outage the rest follows ever faster.
  if ARGV[6] == '1' or workspace_probed or operation_probed then add_retries(2) end
elseif happened == 'failed' then
  if workspace_probed then
    open(KEYS[12], 'workspace')
  elseif redis.call('EXISTS', KEYS[12]) == 0 then
    local lead = redis.call('INCR', KEYS[15])
    redis.call('PEXPIRE', KEYS[15], LEAD_KEPT)
    if lead >= LEAD then open(KEYS[12], 'workspace') end
  end
  if operation_probed or (redis.call('EXISTS', KEYS[11]) == 0 and #changes > 0 and most_are_open()) then
    open(KEYS[11], 'credential')
  end
elseif ARGV[6] == '1' then
  add_retries(1)
end

if happened == 'refused' then
  local refusals = redis.call('INCR', KEYS[3])
  redis.call('DEL', KEYS[2])
  if redis.call('PTTL', KEYS[4]) < milliseconds then redis.call('SET', KEYS[4], '1', 'PX', milliseconds) end
  change('credential', 'authentication', now + milliseconds, refusals)
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
return changes
