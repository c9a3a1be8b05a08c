-- Stands before each script: the moment, whether there is a memory, and what tells values that the script can have written from a stranger's.
-- A stranger's make the script end with an error; the caller then forgets the keys, as if Redis had lost its memory.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local LONGEST_PAUSE = 3600000 -- what the vendor may ask for; no other pause of ours is longer
local LENIENCE = 60000 -- other clocks after a failover, other limits while workers are exchanged
local stranger = nil

local function check(key, is_ours)
  if not is_ours then stranger = stranger or key end
end

-- NaN is neither above nor below anything.
local function check_number(key, text, most)
  local value = tonumber(text or '0')
  check(key, value ~= nil and value >= 0 and value <= most)
end

local function check_value(key, most) check_number(key, redis.call('GET', key), most) end

local function check_field(key, field, most) check_number(key, redis.call('HGET', key, field), most) end

local function check_pause(key, longest) check(key, redis.call('PTTL', key) <= longest + LENIENCE) end

local function check_scores(key, most) check(key, redis.call('ZCOUNT', key, '(' .. most, '+inf') == 0) end

local function complaint() return redis.error_reply('STRANGE value in ' .. stranger) end

-- A server that was started anew may hold keys from before its last calls, so it counts as one without memory.
local function is_born(key)
  local server = redis.pcall('INFO', 'server')
  local run = type(server) == 'string' and string.match(server, 'run_id:(%w+)') or 'unknown'
  return redis.pcall('GET', key) == run
end

