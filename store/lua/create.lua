-- Accept a job: record, indexes, queue, first event and wake-up in one step.
-- ARGV: id, dataset ids (the job's own, then others that it reads, apart by spaces), idempotency key or '', body sha256, seconds to keep the key, n, n record parts, wake-up parts …
-- Answers {'ok' | 'same', record} | {'other'} | {'no_dataset', dataset id}.
local id, datasets, idempotency, sha256, ttl, n = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local key = KEY.job:format(id)

if redis.call('EXISTS', key) == 1 then
  return { 'ok', record(id) } -- the answer to this very call was lost and the client sent it again
end
if idempotency ~= '' then
  local seen = redis.call('GET', idempotency)
  if seen then
    local before, other = seen:match('^(%S+) (%S+)$')
    if before ~= sha256 then
      return { 'other' }
    end
    if redis.call('EXISTS', KEY.job:format(other)) == 1 then
      return { 'same', record(other) }
    end
  end
end
for dataset in datasets:gmatch('%S+') do
  if dataset:sub(1, 3) == 'ds_' and redis.call('EXISTS', KEY.dataset:format(dataset)) == 0 then
    return { 'no_dataset', dataset } -- deleted since the caller looked; built-in sets cannot go
  end
end
if idempotency ~= '' then
  redis.call('SET', idempotency, sha256 .. ' ' .. id, 'EX', ttl)
end

local now = now_ms()
local sequence = redis.call('INCR', KEY.sequence)
local own, others = datasets:match('^(%S+) ?(.*)$')
redis.call('HSET', key, 'id', id, 'dataset', own, 'sequence', sequence, 'status', 'queued', 'status_reason', '',
  'attempt', 1, 'crashes', 0, 'fence', 0, 'last_event', 0, 'last_metric_step', -1, 'created_at_ms', now,
  'updated_at_ms', now, unpack(ARGV, 7, 6 + n))
local tags, priority = unpack(redis.call('HMGET', key, 'tags', 'priority'))
redis.call('ZADD', KEY.jobs, sequence, id)
for _, name in ipairs(index_keys('queued', cjson.decode(tags))) do
  redis.call('ZADD', name, sequence, id)
end
enqueue(id, priority, sequence)
if others ~= '' then
  redis.call('HSET', key, 'reads', others)
end
for dataset in datasets:gmatch('%S+') do
  redis.call('SADD', KEY.dataset_jobs:format(dataset), id)
end
status_event(id, key, 'status', now)
wake_for(id, { unpack(ARGV, 7 + n) })
notify(id)
return { 'ok', record(id) }
