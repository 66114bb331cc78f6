-- A worker lets go: last events, last fields and the transition in one fenced step.
-- ARGV: id, fence, asked status, reason, token, last metric step or '', n, n record parts, result or '', error or '',
--       m, m event parts (type, data, …), wake-up parts …
-- Answers {'ok', record} | {'fenced'} | {'illegal', status}.
local id, fence, asked, reason, token, step, n =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local key = KEY.job:format(id)

-- Whether the job's progress is at the epochs after which its sweep has it wait.
local function reached_rung(job)
  local halt, progress = unpack(redis.call('HMGET', job, 'halt_epoch', 'progress'))
  return halt and progress and (tonumber(cjson.decode(progress).epoch) or 0) >= tonumber(halt)
end

-- The trial's figure at this rung becomes known; it waits there, or has stopped on its way and goes no further.
local function arrive(trial, job, as)
  local sweep, metrics = unpack(redis.call('HMGET', job, 'sweep', 'metrics'))
  local state, rest = redis.call('HGET', KEY.trials:format(sweep), trial):match('^(%S+) (.*)$')
  if state == 'training' then -- one that waits and was resumed by its user has arrived before
    local figure = cjson.decode(metrics or '{}')[redis.call('HGET', KEY.sweep:format(sweep), 'objective')]
    local text = type(figure) == 'number' and string.format('%.17g', figure) or '-'
    set_trial(sweep, trial, as .. ' ' .. rest .. ' ' .. text)
  end
end

local status = holds(key, fence)
if not status then
  local present, last = unpack(redis.call('HMGET', key, 'fence', 'last_write'))
  if present == fence and last == token then
    return { 'ok', record(id) } -- it is done: the answer was lost and the worker sent it again
  end
  return { 'fenced' }
end
-- A trial that its sweep halves has trained as far as it may; one that may meanwhile train on goes back to the queue.
local epoch_reached = asked == 'paused' and reason == 'rung' and reached_rung(key)
if asked == 'paused' and reason == 'rung' then
  if epoch_reached and status == 'running' then
    move(id, 'pausing', 'rung', now_ms())
    status = 'pausing'
  elseif epoch_reached then
    reason = 'paused' -- its user has asked for the pause, and has to end it
  else
    asked, reason = 'queued', 'given_back'
  end
end
local to = YIELDS[status] and YIELDS[status][asked] or asked
if not TRANSITIONS[status][to] then
  return { 'illegal', status }
end

local now = now_ms()
local result, failure, m = ARGV[8 + n], ARGV[9 + n], tonumber(ARGV[10 + n])
local first_event = 11 + n
redis.call('HSET', key, 'last_write', token, unpack(ARGV, 8, 7 + n))
if step ~= '' then
  redis.call('HSET', key, 'last_metric_step', step)
end
if to == asked then -- a cancel that won publishes nothing
  if result ~= '' then
    redis.call('HSET', key, 'result', result)
  end
  if failure ~= '' then
    redis.call('HSET', key, 'error', failure)
  end
end
for i = first_event, first_event + m - 1, 2 do
  emit(id, ARGV[i], ARGV[i + 1], now)
end
if epoch_reached and to == 'paused' then
  arrive(id, key, 'waiting')
elseif to == 'succeeded' and reason == 'early_stopped' and redis.call('HEXISTS', key, 'halt_epoch') == 1 then
  arrive(id, key, 'stopped')
end
move(id, to, to == asked and reason or '', now)
if to == 'queued' then
  wake_for(id, { unpack(ARGV, first_event + m) })
end
return { 'ok', record(id) }
