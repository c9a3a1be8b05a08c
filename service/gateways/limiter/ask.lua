-- Grants or refuses one vendor call. All times are milliseconds of Redis' own clock.
--
-- GCRA alone decides what is allowed: `tat` is the theoretical arrival time of a limited scope. Who may come when is
-- start-time fair queueing (Goyal, Vin, Cheng 1996): a caller that is refused keeps a tag, and the smallest goes first.
-- The tags of one group, for the operation a workspace, count up by one each; `virtual` is up to where all were let
-- through. So a workspace that comes new goes before all but the first of one that has many waiting. A caller is told
-- when its turn will be; while it is not back, those behind it go on, and it goes first when it comes.
--
-- KEYS: 1 born, 2 settling, 3 operation, 4 workspace, 5 in flight, 6 operation's queue, 7 proven, 8 refusals, 9 breaker,
--       10 operation's pause, 11 operation's slow start, 12 workspace's pause, 13 workspace's slow start,
--       14 tag in the operation's queue, 15 tag in the workspace's queue, 16 workspace's calls in flight,
--       17 workspace's queue, 18 operation's failure breaker, 19 workspace's failure breaker,
--       20 when the operation's breaker closed last, 21 retry budget,
--       22 when those in the operation's queue are back, 23 the same of the workspace's queue
-- ARGV: 1 operation interval, 2 its tolerance, 3 workspace interval, 4 its tolerance (interval 0 = no limit),
--       5 most calls at once, 6 permit id, 7 its life, 8 batch key, 9 most calls at once of the workspace (0 = no limit),
--       10 whether the call is a retry, 11 share of first calls that may be retried, 12 period of one retry besides,
--       13 whether the credential has to prove itself, 14 the workspace's last resumption (0 = none of late)
-- Answers {1, refusals, whether it cost a retry} when granted, else {0, reason, wait}. A limiter without memory answers
-- {0, 'unborn', 0}: it gives no permit before the breakers were put back.

local UNUSED = 3 -- intervals that nobody used: those whose turn it was did not come
local TAG_KEPT = 30000 -- how late a caller may come and still go first
local LONGEST_WAIT = 5000 -- one that waits longer looks again at half time, whether those before it came
local STEP = 100 -- how often a caller asks for one of a few calls at once, when it is alone
local LATE = 100 -- at most so long after its time others wait for a caller
local SOON = 2 * STEP -- a caller that is back later than that is not waited for
local MOST_AWAITED = 100
local NUMBERS_KEPT = 120000 -- of a scope, after its last use
local MOST_RETRIES = 10 -- that the budget saves up
local MOST_TAGS = 1e12 -- far more than calls
local SLOW_START = 1100 -- from a workspace's first call after its resumption, and on the way to the vendor

if not is_born(KEYS[1]) then return {0, 'unborn', '0'} end

local function check_all()
  local longest_interval = 2 * math.max(tonumber(ARGV[1]), tonumber(ARGV[3])) -- in slow start
  longest_interval = math.max(longest_interval, LONGEST_PAUSE) -- a slower rate may have been in force until now
  local last_end = now + tonumber(ARGV[7]) + LONGEST_PAUSE
  check_pause(KEYS[2], 0)
  for _, key in ipairs({KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]}) do check_pause(key, LONGEST_PAUSE) end
  for _, key in ipairs({KEYS[3], KEYS[4]}) do
    check_field(key, 'tat', now + 2 * longest_interval + LENIENCE)
    check_field(key, 'full', now + LENIENCE)
    for _, field in ipairs({'virtual', 'next', 'next_of_operation'}) do check_field(key, field, MOST_TAGS) end
  end
  for _, key in ipairs({KEYS[14], KEYS[15]}) do check_value(key, MOST_TAGS) end
  for _, key in ipairs({KEYS[5], KEYS[16]}) do check_scores(key, last_end) end
  for _, key in ipairs({KEYS[6], KEYS[17]}) do check_scores(key, MOST_TAGS) end
  for _, key in ipairs({KEYS[22], KEYS[23]}) do check_scores(key, now + LONGEST_WAIT + LONGEST_PAUSE) end
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

local function left(key)
  local ttl = redis.call('PTTL', key)
  return ttl > 0 and ttl or 0
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

local function shortened(wait)
  if wait > LONGEST_WAIT then wait = math.min(math.max(LONGEST_WAIT, wait / 2), LONGEST_PAUSE) end
  return math.max(wait, 1)
end

local function refuse(reason, wait)
  return {0, reason, tostring(shortened(wait))}
end

local function leave(queue)
  redis.call('ZREM', queue.key, ARGV[8])
  redis.call('ZREM', queue.back, ARGV[8])
end

-- A scope that was slower until now is not held to what that rate would have asked for.
local function forget_slower_rate(scope, interval)
  local latest = now + 3 * interval
  if interval > 0 and number(scope, 'tat') > latest then redis.call('HSET', scope, 'tat', tostring(latest)) end
end

-- The caller's tag: the one that it kept, or the next of its group.
local function tag_in(queue)
  return tonumber(redis.call('GET', queue.kept) or '') or math.max(number(queue.scope, 'virtual'), number(queue.group, queue.next))
end

local function take_tag(queue)
  if redis.call('EXISTS', queue.kept) == 0 then redis.call('HSET', queue.group, queue.next, tostring(queue.tag + 1)) end
end

-- Those that go first and are expected back now.
local function count_ahead(queue)
  local ahead = 0
  local awaited = redis.call('ZRANGEBYSCORE', queue.back, '-inf', now + SOON, 'LIMIT', 0, MOST_AWAITED)
  if #awaited == 0 then return 0 end
  for _, tag in ipairs(redis.call('ZMSCORE', queue.key, unpack(awaited))) do
    if tag and tonumber(tag) < queue.tag then ahead = ahead + 1 end
  end
  return ahead
end

local function queue_of(key, back, kept, scope, group, next, interval)
  local queue = {key = key, back = back, kept = kept, scope = scope, group = group, next = next}
  local late = now - math.min(LATE, interval > 0 and interval / 2 or LATE)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', back, '-inf', late, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', key, member)
    redis.call('ZREM', back, member)
  end
  forget_slower_rate(scope, interval)
  queue.tag = tag_in(queue)
  queue.position = redis.call('ZRANK', key, ARGV[8]) or redis.call('ZCOUNT', key, '-inf', string.format('%.0f', queue.tag))
  queue.ahead = count_ahead(queue)
  return queue
end

local function touch(queue, interval)
  for _, key in ipairs({queue.scope, queue.group, queue.key, queue.back}) do
    redis.call('PEXPIRE', key, math.ceil(NUMBERS_KEPT + 60 * interval))
  end
end

-- Keeps the caller's place until it comes back after the wait.
local function stand(queue, reason, wait, interval)
  wait = shortened(wait)
  take_tag(queue)
  redis.call('ZADD', queue.key, queue.tag, ARGV[8])
  redis.call('ZADD', queue.back, now + wait, ARGV[8])
  redis.call('SET', queue.kept, string.format('%.0f', queue.tag), 'PX', math.ceil(wait + TAG_KEPT))
  touch(queue, interval)
  return {0, reason, tostring(wait)}
end

local function pass(queue, interval)
  take_tag(queue)
  redis.call('DEL', queue.kept)
  leave(queue)
  local _, first = unpack(redis.call('ZRANGE', queue.key, 0, 0, 'WITHSCORES'))
  local reached = math.min(queue.tag, tonumber(first or queue.tag)) -- one that came out of its order moves nobody back
  redis.call('HSET', queue.scope, 'virtual', string.format('%.0f', math.max(number(queue.scope, 'virtual'), reached)))
  if interval > 0 then
    redis.call('HSET', queue.scope, 'tat', tostring(math.max(number(queue.scope, 'tat'), now) + interval))
  end
  touch(queue, interval)
end

-- How long until the rate lets this caller through, after those before it; 0 = now. It is told to come with the one before
-- it, which may find its workspace at its limit: else the turn would be lost.
local function wait_for_turn(queue, interval, tolerance)
  local tat, full = number(queue.scope, 'tat'), number(queue.scope, 'full')
  if tat > 0 and math.max(tat, full) + UNUSED * interval + 200 < now then return 0 end
  local early = tat - tolerance - now
  if early <= 0 and queue.ahead == 0 then return 0 end
  local before = math.max(queue.position - 1, 0) * interval
  if early > 0 then return early + before end
  return math.max(before, math.min(LATE, interval / 4))
end

-- Where there is a rate, it keeps the order.
local function is_full(queue, in_flight, at_once, interval)
  redis.call('ZREMRANGEBYSCORE', in_flight, '-inf', now)
  local room = at_once - redis.call('ZCARD', in_flight)
  return room <= 0 or (interval == 0 and room <= queue.ahead)
end

-- How long until one of a few calls at once may be free: the more callers are before this one, the less often it asks.
local function wait_for_room(queue, at_once)
  redis.call('HSET', queue.scope, 'full', tostring(now))
  return math.min(STEP * (1 + queue.position / (4 * at_once)), LONGEST_WAIT)
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

-- In the second after a pause a scope has half its rate; a workspace without a rate of its own half the operation's.
local is_resumed = ARGV[14] ~= '0' and redis.call('HGET', KEYS[4], 'resumed') ~= ARGV[14]
local function rate_of(interval, tolerance, is_slow, otherwise)
  if not is_slow then return interval, tolerance * interval end
  return 2 * (interval > 0 and interval or otherwise), 0
end
local interval, tolerance = rate_of(tonumber(ARGV[1]), tonumber(ARGV[2]), left(KEYS[11]) > 0, 0)
local is_slow = is_resumed or left(KEYS[13]) > 0
local workspace_interval, workspace_tolerance = rate_of(tonumber(ARGV[3]), tonumber(ARGV[4]), is_slow, tonumber(ARGV[1]))
local operation = queue_of(KEYS[6], KEYS[22], KEYS[14], KEYS[3], KEYS[4], 'next_of_operation', interval)
local workspace = queue_of(KEYS[17], KEYS[23], KEYS[15], KEYS[4], KEYS[4], 'next', workspace_interval)

-- A caller that waits for its workspace keeps nobody of another waiting.
local function stand_in_workspace(reason, wait)
  leave(operation)
  return stand(workspace, reason, wait, workspace_interval)
end

-- How long an open breaker lets nothing through; 0 = this call may be its probe. One that opened before the
-- credential's closed need not wait for its own time.
local recovered = tonumber(redis.call('GET', KEYS[20]) or '0')
local probed = {}
for _, key in ipairs({KEYS[18], KEYS[19]}) do
  if redis.call('EXISTS', key) == 1 then
    local ends = number(key, 'until')
    if ends > now and number(key, 'changed') > recovered then return refuse('breaker_open', ends - now) end
    if number(key, 'probe_until') > now then
      return stand_in_workspace('breaker_open', wait_for_room(workspace, 1))
    end
    table.insert(probed, key)
  end
end
-- A probe is limited by its breaker.
local is_retry = ARGV[10] == '1' and #probed == 0
local retries = retries_left()
if is_retry and retries < 1 then return refuse('backoff', (1 - retries) * tonumber(ARGV[12])) end

local settling = left(KEYS[2])
if settling > 0 and (interval > 0 or workspace_interval > 0) then return refuse('rate', settling) end

local workspace_at_once = tonumber(ARGV[9])
if workspace_at_once > 0 and is_full(workspace, KEYS[16], workspace_at_once, workspace_interval) then
  return stand_in_workspace('concurrency', wait_for_room(workspace, workspace_at_once))
end
if workspace_interval > 0 then
  local wait = wait_for_turn(workspace, workspace_interval, workspace_tolerance)
  if wait > 0 then return stand_in_workspace('workspace_rate', wait) end
end
local is_proven = ARGV[13] == '0' or redis.call('EXISTS', KEYS[7]) == 1
local at_once = is_proven and tonumber(ARGV[5]) or 1
if is_full(operation, KEYS[5], at_once, interval) then
  return stand(operation, 'concurrency', wait_for_room(operation, at_once), interval)
end
if interval > 0 then
  local wait = wait_for_turn(operation, interval, tolerance)
  if wait > 0 then return stand(operation, 'rate', wait, interval) end
end
pass(operation, interval)
pass(workspace, workspace_interval)
if is_resumed then
  redis.call('HSET', KEYS[4], 'resumed', ARGV[14])
  if left(KEYS[13]) < SLOW_START then redis.call('SET', KEYS[13], '1', 'PX', SLOW_START) end
end

local ends = now + tonumber(ARGV[7])
for _, key in ipairs({KEYS[5], KEYS[16]}) do
  redis.call('ZADD', key, ends, ARGV[6])
  redis.call('PEXPIRE', key, tonumber(ARGV[7]) + 60000)
end
for _, key in ipairs(probed) do
  redis.call('HSET', key, 'probe', ARGV[6], 'probe_until', tostring(ends))
end
if is_retry then
  keep_retries(retries - 1)
elseif ARGV[10] == '0' and tonumber(ARGV[11]) > 0 then
  keep_retries(retries + tonumber(ARGV[11]))
end
return {1, tonumber(redis.call('GET', KEYS[8]) or '0') or 0, is_retry and 1 or 0}
