-- Carry out a decision about the trials of a sweep, unless something has happened to them since it was made.
-- ARGV: sweep id, version that was looked at, p, then p times: id, rung, epochs after which it waits there or '',
--   r, then r times: id, reason, wake-up parts …
-- Answers 'ok' | 'changed'.
local sweep, version = ARGV[1], ARGV[2]
local key = KEY.sweep:format(sweep)
local present = redis.call('HGET', key, 'version')
if not present then
  redis.call('SREM', KEY.undecided, sweep)
  return 'ok'
end
if present ~= version then
  return 'changed'
end
redis.call('SREM', KEY.undecided, sweep)
local now, at = now_ms(), 4

local promotions = {}
for i = 1, tonumber(ARGV[3]) do
  promotions[i] = { ARGV[at], ARGV[at + 1], ARGV[at + 2] }
  at = at + 3
end
local retirements = {}
for i = 1, tonumber(ARGV[at]) do
  retirements[i] = { ARGV[at + 2 * i - 1], ARGV[at + 2 * i] }
end
local wake_parts = { unpack(ARGV, at + 1 + 2 * #retirements) }

-- A trial goes on to a rung. One that has stopped has the figure there that it has at the one below.
local function promote(id, rung, halt)
  local trials, job = KEY.trials:format(sweep), KEY.job:format(id)
  local state, place, figures = redis.call('HGET', trials, id):match('^(%S+) (%S+) %S+(.*)$')
  if redis.call('EXISTS', job) == 1 then -- one that has stopped may be deleted
    redis.call('HSET', job, 'rung', rung)
  end
  if state == 'stopped' then
    local figure = halt == '' and '' or figures:match(' %S+$')
    redis.call('HSET', trials, id, 'stopped ' .. place .. ' ' .. rung .. figures .. figure)
    return
  end
  redis.call('HSET', trials, id, 'training ' .. place .. ' ' .. rung .. figures)
  if halt == '' then
    redis.call('HDEL', job, 'halt_epoch')
  else
    redis.call('HSET', job, 'halt_epoch', halt)
  end
  local status, reason = unpack(redis.call('HMGET', job, 'status', 'status_reason'))
  if status == 'paused' and reason == 'rung' then -- one that its user has paused goes on when the user says so
    move(id, 'queued', 'promoted', now)
    wake_for(id, wake_parts)
  end
end

for _, promotion in ipairs(promotions) do
  promote(unpack(promotion))
end
for _, retirement in ipairs(retirements) do
  local id, reason = unpack(retirement)
  local status = redis.call('HGET', KEY.job:format(id), 'status')
  local to = status and REQUESTS.cancel[status]
  if to and to ~= status then
    move(id, to, reason, now)
  end
  local place, figures = redis.call('HGET', KEY.trials:format(sweep), id):match('^%S+ (%S+) %S+(.*)$')
  redis.call('HSET', KEY.trials:format(sweep), id, 'ended ' .. place .. ' ' .. redis.call('HGET', KEY.job:format(id), 'rung') .. figures)
end
redis.call('HINCRBY', key, 'version', 1)
redis.call('SREM', KEY.undecided, sweep) -- the ends above are its own doing
return 'ok'
