-- Grants or refuses one vendor call. All times are milliseconds of Redis' own clock.
--
-- Two numbers a limited scope: `tat`, the theoretical arrival time of GCRA, which alone decides what is allowed, and
-- `tail`, up to where places in the queue have been given out, which decides only who may come when. A caller that is
-- refused gets a place; one that comes back at its time goes first. A place that is not taken up lapses.
--
-- KEYS: 1 born, 2 operation, 3 workspace, 4 in flight, 5 proven, 6 breaker, 7 operation's pause, 8 workspace's pause,
--       9 place in the operation's queue, 10 place in the workspace's queue, 11 settling
-- ARGV: 1 operation interval, 2 workspace interval (0 = no limit), 3 most calls at once, 4 permit id, 5 its life
-- Answers {1} when granted, else {0, reason, wait}.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local SETTLING = 1000 -- after a loss of Redis nothing is known of the last second, so it is waited out
local TOLERANCE = 0.25 -- of an interval: takes up the lateness of callers that come back
local ASK_AGAIN = 5000 -- even one far back in the queue looks now and then whether those before it came
local UNUSED = 3 -- intervals that nobody used: places were given out to callers that did not come

local function refuse(reason, wait)
  return {0, reason, tostring(math.max(wait, 1))}
end

local function left(key)
  local ttl = redis.call('PTTL', key)
  return ttl > 0 and ttl or 0
end

local function number(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

local function keep(key, field, value, interval)
  redis.call('HSET', key, field, tostring(value))
  redis.call('PEXPIRE', key, math.ceil(math.max(value - now, 0) + 60 * interval + 60000))
end

-- Whether the scope lets a call through now; else how long its place in the queue is away.
local function wait_for_turn(scope, place_key, interval)
  local tat = number(scope, 'tat')
  local early = tat - TOLERANCE * interval - now
  if tat > 0 and tat + UNUSED * interval + 200 < now then return 0 end
  local place = tonumber(redis.call('GET', place_key) or '0')
  if place == 0 then
    local tail = math.max(number(scope, 'tail'), tat, now)
    if early <= 0 and tail <= now + TOLERANCE * interval then
      return 0
    end
    place = tail
    keep(scope, 'tail', tail + interval, interval)
  elseif place <= now and early <= 0 then
    return 0
  end
  local at = math.max(place, now + early)
  redis.call('SET', place_key, tostring(place), 'PX', math.ceil(at - now + math.max(2 * interval, 500)))
  return math.min(at - now, ASK_AGAIN)
end

local function pass(scope, place_key, interval)
  keep(scope, 'tat', math.max(number(scope, 'tat'), now) + interval, interval)
  if number(scope, 'tail') < number(scope, 'tat') then
    keep(scope, 'tail', number(scope, 'tat'), interval)
  end
  redis.call('DEL', place_key)
end

local operation_interval, workspace_interval = tonumber(ARGV[1]), tonumber(ARGV[2])

local breaker = left(KEYS[6])
if breaker > 0 then return refuse('breaker_open', breaker) end
local operation_pause = left(KEYS[7])
if operation_pause > 0 then return refuse('rate', operation_pause) end
local workspace_pause = left(KEYS[8])
if workspace_pause > 0 then return refuse('workspace_rate', workspace_pause) end

if redis.call('SET', KEYS[1], tostring(now), 'NX') then
  redis.call('SET', KEYS[11], '1', 'PX', SETTLING)
end
local settling = left(KEYS[11])
if settling > 0 and (operation_interval > 0 or workspace_interval > 0) then
  return refuse('rate', settling)
end

redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
local at_once = redis.call('EXISTS', KEYS[5]) == 1 and tonumber(ARGV[3]) or 1
if redis.call('ZCARD', KEYS[4]) >= at_once then return refuse('concurrency', 100) end

if workspace_interval > 0 then
  local wait = wait_for_turn(KEYS[3], KEYS[10], workspace_interval)
  if wait > 0 then return refuse('workspace_rate', wait) end
end
if operation_interval > 0 then
  local wait = wait_for_turn(KEYS[2], KEYS[9], operation_interval)
  if wait > 0 then return refuse('rate', wait) end
  pass(KEYS[2], KEYS[9], operation_interval)
end
if workspace_interval > 0 then pass(KEYS[3], KEYS[10], workspace_interval) end

redis.call('ZADD', KEYS[4], now + tonumber(ARGV[5]), ARGV[4])
redis.call('PEXPIRE', KEYS[4], tonumber(ARGV[5]) + 60000)
return {1}
