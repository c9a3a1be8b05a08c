-- Grants or refuses one vendor call. All times are milliseconds of Redis' own clock.
--
-- Two numbers a limited scope: `tat`, the theoretical arrival time of GCRA, which alone decides what is allowed, and
-- `tail`, up to where places in the queue have been given out, which decides only who may come when. A caller that is
-- refused gets a place; one that comes back at its time goes first. A place that is not taken up lapses.
--
-- KEYS: 1 born, 2 settling, 3 operation, 4 workspace, 5 in flight, 6 crowd, 7 proven, 8 refusals, 9 breaker,
--       10 operation's pause, 11 operation's slow start, 12 workspace's pause, 13 workspace's slow start,
--       14 place in the operation's queue, 15 place in the workspace's queue, 16 workspace's calls in flight,
--       17 workspace's crowd, 18 operation's failure breaker, 19 workspace's failure breaker,
--       20 when the operation's breaker closed last, 21 retry budget
-- ARGV: 1 operation interval, 2 its tolerance, 3 workspace interval, 4 its tolerance (interval 0 = no limit),
--       5 most calls at once, 6 permit id, 7 its life, 8 batch key, 9 most calls at once of the workspace (0 = no limit),
--       10 whether the call is a retry, 11 share of first calls that may be retried, 12 period of one retry besides
-- Answers {1, refusals, whether it cost a retry} when granted, else {0, reason, wait}. A limiter without memory answers
-- {0, 'unborn', 0}: it gives no permit before the breakers were put back.

local UNUSED = 3 -- intervals that nobody used: places were given out to callers that did not come
local PLACE_KEPT = 30000 -- how late a caller may come to its place
local LONGEST_WAIT = 5000 -- one that waits longer looks again at half time, whether those before it came
local CROWD_STEP = 100 -- how often a caller asks for one of a few calls at once, when it is alone
local MOST_RETRIES = 10 -- that the budget saves up
local MOST_PLACES = 100000 -- far more than callers wait

-- A server that was started anew may hold keys from before its last calls, so it counts as one without memory.
local server = redis.pcall('INFO', 'server')
local run = type(server) == 'string' and string.match(server, 'run_id:(%w+)') or 'unknown'
if redis.pcall('GET', KEYS[1]) ~= run then return {0, 'unborn', '0'} end

local function check_all()
  local longest_interval = 2 * math.max(tonumber(ARGV[1]), tonumber(ARGV[3])) -- in slow start
  local last_place = now + MOST_PLACES * longest_interval + LENIENCE
  local last_end = now + tonumber(ARGV[7]) + LONGEST_PAUSE
  check_pause(KEYS[2], 0)
  for _, key in ipairs({KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]}) do check_pause(key, LONGEST_PAUSE) end
  for _, key in ipairs({KEYS[3], KEYS[4]}) do
    check_field(key, 'tat', now + 2 * longest_interval + LENIENCE)
    check_field(key, 'tail', last_place)
  end
  for _, key in ipairs({KEYS[14], KEYS[15]}) do check_value(key, last_place) end
  for _, key in ipairs({KEYS[5], KEYS[16]}) do check_scores(key, last_end) end
  for _, key in ipairs({KEYS[6], KEYS[17]}) do check_scores(key, now + LENIENCE) end
  for _, key in ipairs({KEYS[18], KEYS[19]}) do
    check_field(key, 'until', now + LONGEST_PAUSE)
    check_field(key, 'probe_until', last_end)
    check_field(key, 'changed', now + LENIENCE)
  end
  check_value(KEYS[20], now + LENIENCE)
  check_field(KEYS[21], 'left', MOST_RETRIES)
  check_field(KEYS[21], 'at', now + LENIENCE)
end

check_all()
if stranger then return complaint() end

local function refuse(reason, wait)
  if wait > LONGEST_WAIT then wait = math.max(LONGEST_WAIT, wait / 2) end
  return {0, reason, tostring(math.max(wait, 1))}
end

local function left(key)
  local ttl = redis.call('PTTL', key)
  return ttl > 0 and ttl or 0
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

local function keep(scope, field, value, interval)
  redis.call('HSET', scope.key, field, tostring(value))
  redis.call('PEXPIRE', scope.key, math.ceil(math.max(value - now, 0) + 60 * interval + 60000))
end

-- In the second after a pause a scope has half its rate.
local function scope_of(key, place, slow, interval, tolerance)
  if left(slow) > 0 then
    interval, tolerance = 2 * interval, 0
  end
  return {key = key, place = place, interval = interval, tolerance = tolerance * interval}
end

-- How long until the scope lets this caller through; 0 = now. Gives it a place where it has to wait.
local function wait_for_turn(scope)
  local tat = number(scope.key, 'tat')
  local early = tat - scope.tolerance - now
  if tat > 0 and tat + UNUSED * scope.interval + 200 < now then return 0 end
  local place = tonumber(redis.call('GET', scope.place) or '0')
  if place == 0 then
    local tail = math.max(number(scope.key, 'tail'), tat, now)
    if early <= 0 and tail <= now + scope.tolerance then return 0 end
    place = tail
    keep(scope, 'tail', tail + scope.interval, scope.interval)
  end
  local at = math.max(place - scope.tolerance, now + early) -- up to the tolerance early, which takes up its lateness
  redis.call('SET', scope.place, tostring(place), 'PX', math.ceil(math.max(at - now, 0) + PLACE_KEPT))
  return math.max(at - now, 0)
end

local function pass(scope)
  local tat = math.max(number(scope.key, 'tat'), now) + scope.interval
  keep(scope, 'tat', tat, scope.interval)
  if number(scope.key, 'tail') < tat then keep(scope, 'tail', tat, scope.interval) end
  redis.call('DEL', scope.place)
end

-- How long until one of a few calls at once may be free: the more callers wait, the less often each asks.
local function wait_in_crowd(key, at_once)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - 2 * LONGEST_WAIT)
  redis.call('ZADD', key, now, ARGV[8])
  redis.call('PEXPIRE', key, 4 * LONGEST_WAIT)
  return math.min(CROWD_STEP * (1 + redis.call('ZCARD', key) / (4 * at_once)), LONGEST_WAIT)
end

local function is_full(key, at_once)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  return redis.call('ZCARD', key) >= at_once
end

-- How long an open breaker lets nothing through; 0 = this call may be its probe. One that opened before the
-- credential's closed need not wait for its own time.
local recovered = tonumber(redis.call('GET', KEYS[20]) or '0')
local function wait_for_probe(key)
  local ends = number(key, 'until')
  if ends > now and number(key, 'changed') > recovered then return ends - now end
  if number(key, 'probe_until') > now then return wait_in_crowd(KEYS[17], 1) end
  return 0
end

local function retries_left()
  local at = number(KEYS[21], 'at')
  if at == 0 then return MOST_RETRIES end
  return math.min(MOST_RETRIES, number(KEYS[21], 'left') + (now - at) / tonumber(ARGV[12]))
end

local function keep_retries(left)
  redis.call('HSET', KEYS[21], 'left', tostring(math.min(left, MOST_RETRIES)), 'at', tostring(now))
  redis.call('PEXPIRE', KEYS[21], math.ceil(MOST_RETRIES * tonumber(ARGV[12])) + 1000)
end

local breaker = left(KEYS[9])
if breaker > 0 then return refuse('breaker_open', breaker) end
local operation_pause = left(KEYS[10])
if operation_pause > 0 then return refuse('rate', operation_pause) end
local workspace_pause = left(KEYS[12])
if workspace_pause > 0 then return refuse('workspace_rate', workspace_pause) end

local probed = {}
for _, key in ipairs({KEYS[18], KEYS[19]}) do
  if redis.call('EXISTS', key) == 1 then
    local wait = wait_for_probe(key)
    if wait > 0 then return refuse('breaker_open', wait) end
    table.insert(probed, key)
  end
end
-- A probe is limited by its breaker.
local is_retry = ARGV[10] == '1' and #probed == 0
local retries = retries_left()
if is_retry and retries < 1 then return refuse('backoff', (1 - retries) * tonumber(ARGV[12])) end

local operation_interval, workspace_interval = tonumber(ARGV[1]), tonumber(ARGV[3])
-- A workspace without a rate of its own that comes back from a pause has half the operation's.
if workspace_interval == 0 and left(KEYS[13]) > 0 then workspace_interval = operation_interval end
local settling = left(KEYS[2])
if settling > 0 and (operation_interval > 0 or workspace_interval > 0) then
  return refuse('rate', settling)
end

local at_once = redis.call('EXISTS', KEYS[7]) == 1 and tonumber(ARGV[5]) or 1
if is_full(KEYS[5], at_once) then return refuse('concurrency', wait_in_crowd(KEYS[6], at_once)) end
local workspace_at_once = tonumber(ARGV[9])
if workspace_at_once > 0 and is_full(KEYS[16], workspace_at_once) then
  return refuse('concurrency', wait_in_crowd(KEYS[17], workspace_at_once))
end

local workspace = workspace_interval > 0 and scope_of(KEYS[4], KEYS[15], KEYS[13], workspace_interval, tonumber(ARGV[4]))
local operation = operation_interval > 0 and scope_of(KEYS[3], KEYS[14], KEYS[11], operation_interval, tonumber(ARGV[2]))
if workspace then
  local wait = wait_for_turn(workspace)
  if wait > 0 then return refuse('workspace_rate', wait) end
end
if operation then
  local wait = wait_for_turn(operation)
  if wait > 0 then return refuse('rate', wait) end
  pass(operation)
end
if workspace then pass(workspace) end

local ends = now + tonumber(ARGV[7])
for _, key in ipairs({KEYS[5], KEYS[16]}) do
  redis.call('ZADD', key, ends, ARGV[6])
  redis.call('PEXPIRE', key, tonumber(ARGV[7]) + 60000)
end
redis.call('ZREM', KEYS[6], ARGV[8])
redis.call('ZREM', KEYS[17], ARGV[8])
for _, key in ipairs(probed) do
  redis.call('HSET', key, 'probe', ARGV[6], 'probe_until', tostring(ends))
end
if is_retry then
  keep_retries(retries - 1)
elseif ARGV[10] == '0' and tonumber(ARGV[11]) > 0 then
  keep_retries(retries + tonumber(ARGV[11]))
end
return {1, tonumber(redis.call('GET', KEYS[8]) or '0') or 0, is_retry and 1 or 0}
