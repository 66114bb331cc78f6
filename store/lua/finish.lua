-- A worker lets go: last events, last fields and the transition in one fenced step.
-- ARGV: id, fence, asked status, reason, token, last metric step or '', n, n record parts, result or '', error or '',
--       m, m event parts (type, data, …), wake-up parts …
-- Answers {'ok', record} | {'fenced'} | {'illegal', status}.
local id, fence, asked, reason, token, step, n =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local key = KEY.job:format(id)
local status = holds(key, fence)
if not status then
  local present, last = unpack(redis.call('HMGET', key, 'fence', 'last_write'))
  if present == fence and last == token then
    return { 'ok', record(id) } -- it is done: the answer was lost and the worker sent it again
  end
  return { 'fenced' }
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
move(id, to, to == asked and reason or '', now)
if to == 'queued' then
  wake_for(id, { unpack(ARGV, first_event + m) })
end
return { 'ok', record(id) }
