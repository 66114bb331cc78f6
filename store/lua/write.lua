-- A worker reports: events, changed fields and the renewed lease in one fenced step.
-- ARGV: id, fence, lease in ms, token, last metric step or '', n, n record parts, type, data, type, data …
-- Answers the present status, or false when the fence has passed to another.
local id, fence, lease_ms, token, step, n = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local key = KEY.job:format(id)
local status = holds(key, fence)
if not status then
  return false
end
local now = now_ms()
redis.call('ZADD', KEY.leases, now + lease_ms, id)
if redis.call('HGET', key, 'last_write') == token then
  return status -- this batch is in: its answer was lost and the worker sent it again
end
local parts = { 'last_write', token, 'updated_at_ms', now, unpack(ARGV, 7, 6 + n) }
if step ~= '' then
  parts[#parts + 1] = 'last_metric_step'
  parts[#parts + 1] = step
end
for i = 7, 6 + n, 2 do
  if ARGV[i] == 'checkpoint' then
    local current = redis.call('HGET', key, 'checkpoint')
    if current then
      redis.call('HSET', key, 'checkpoint_before', current)
    end
  end
end
redis.call('HSET', key, unpack(parts))
for i = 7 + n, #ARGV, 2 do
  emit(id, ARGV[i], ARGV[i + 1], now)
end
notify(id)
return status
