-- Accept jobs, and the sweep that they belong to: records, indexes, queue, first events and wake-ups in one step; all or
-- none. ARGV: idempotency key or '', body sha256, seconds to keep the key,
--   the most jobs that a sweep may have which is there and gets these, or 0,
--   s, s parts of the sweep's record (0: there is no sweep), the first two of them `id` and the id, the only ones of a
--     sweep that is there,
--   jobs, then for each: id, dataset ids (the job's own, then others that it reads, apart by spaces), n, n record parts,
--   wake-up parts …
-- Answers {'ok' | 'same', record} for one job, {'ok' | 'same', id, id, …} for several (their records take longer to
--   read than to write, and nobody else is served meanwhile), {'ok' | 'same', id of the sweep},
--   {'other'}, {'no_dataset', dataset id, number of the job}, or of a sweep that takes no points
--   {'no_sweep'}, {'cancelled'}, {'planned'} or {'full', jobs that it has}.
local idempotency, sha256, ttl, most, s = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local sweep = s > 0 and ARGV[7]
local new_sweep = most == 0 and sweep
local count, at = tonumber(ARGV[6 + s]), 7 + s

local jobs, ids = {}, {}
for i = 1, count do
  local n = tonumber(ARGV[at + 2])
  jobs[i], ids[i] = { id = ARGV[at], datasets = ARGV[at + 1], first = at + 3, last = at + 2 + n }, ARGV[at]
  at = at + 3 + n
end
local wake_parts = { unpack(ARGV, at) }

local function answer(kind, made)
  local found = { kind }
  for _, id in ipairs(made) do
    if new_sweep or redis.call('EXISTS', KEY.job:format(id)) == 1 then
      found[#found + 1] = (new_sweep or count > 1) and id or record(id)
    end
  end
  return found
end

local function exists(name)
  return redis.call('EXISTS', (new_sweep and KEY.sweep or KEY.job):format(name)) == 1
end

-- Why the sweep takes no points.
local function refusal()
  local plan, cancelled = unpack(redis.call('HMGET', KEY.sweep:format(sweep), 'plan', 'cancelled_at_ms'))
  local jobs = redis.call('ZCARD', KEY.swept:format(sweep))
  if not plan then
    return { 'no_sweep' }
  elseif cancelled then
    return { 'cancelled' }
  elseif plan:sub(1, 8) ~= '{"list":' then
    return { 'planned' }
  end
  return jobs + count > most and { 'full', jobs } or nil
end

local made = new_sweep and { new_sweep } or ids
if exists(made[1]) then
  return answer('ok', made) -- the answer to this very call was lost and the client sent it again
end
if idempotency ~= '' then
  local seen = redis.call('GET', idempotency)
  if seen then
    local before, names = seen:match('^(%S+) (%S+)$')
    if before ~= sha256 then
      return { 'other' }
    end
    local others, there = {}, false
    for name in names:gmatch('[^,]+') do
      others[#others + 1] = name
      there = there or exists(name)
    end
    if there then
      return answer('same', others)
    end
  end
end
local refused = most > 0 and refusal()
if refused then
  return refused
end
local known = {}
for i, job in ipairs(jobs) do
  for dataset in job.datasets:gmatch('%S+') do
    if not known[dataset] and dataset:sub(1, 3) == 'ds_' and redis.call('EXISTS', KEY.dataset:format(dataset)) == 0 then
      return { 'no_dataset', dataset, i - 1 } -- deleted since the caller looked; built-in sets cannot go
    end
    known[dataset] = true
  end
end
if idempotency ~= '' then
  redis.call('SET', idempotency, sha256 .. ' ' .. table.concat(made, ','), 'EX', ttl)
end

local now = now_ms()
local first_event = status_text('queued', '', 1, nil, now)
local added, reading = {}, {}

-- Members of indexes and queues are added together: the number of commands is what takes time.
local function add(name, score, id)
  local members = added[name] or {}
  added[name] = members
  members[#members + 1], members[#members + 2] = score, id
end

-- `join_group` of many: of each group the first job's score alone.
local firsts = {}
local function add_to_group(group, known, name, score, id)
  add(group, score, id)
  firsts[known] = firsts[known] or {}
  firsts[known][name] = math.min(firsts[known][name] or score, score)
end

-- `join_line` of many.
local newcomers = {}
local function add_to_line(queue, owner, score, id)
  add_to_group(KEY.line:format(queue, owner), KEY.owners:format(queue), owner, score, id)
  local turns = KEY.turns:format(priority_of(score))
  newcomers[turns] = newcomers[turns] or {}
  newcomers[turns][owner] = math.min(newcomers[turns][owner] or 0, newcomer(score))
end

-- `join_share` of many.
local owners = {}
local function add_share(stack, owner, tag, score, id)
  add(KEY.stack:format(stack, owner), score, id)
  add_to_group(KEY.stack_share:format(stack, owner, tag), KEY.stack_tags:format(stack, owner), tag, score, id)
  owners[KEY.stack_owners:format(stack)] = owners[KEY.stack_owners:format(stack)] or {}
  owners[KEY.stack_owners:format(stack)][owner] = true
end

local function create(id, datasets, first, last, sequence)
  local key, given = KEY.job:format(id), {}
  for i = first, last, 2 do
    given[ARGV[i]] = ARGV[i + 1]
  end
  local own, others = datasets:match('^(%S+) ?(.*)$')
  redis.call('HSET', key, 'id', id, 'dataset', own, 'sequence', sequence, 'status', 'queued', 'status_reason', '',
    'attempt', 1, 'crashes', 0, 'fence', 0, 'last_event', 1, 'last_metric_step', -1, 'created_at_ms', now,
    'updated_at_ms', now, unpack(ARGV, first, last))
  if others ~= '' then
    redis.call('HSET', key, 'reads', others)
  end
  add(KEY.jobs, sequence, id)
  local tags = cjson.decode(given.tags)
  for _, name in ipairs(index_keys('queued', tags, sweep)) do
    add(name, sequence, id)
  end
  local score = queue_score(given.priority, sequence)
  local queue = queue_for(given.wanted)
  add(queue, score, id)
  add_to_line(queue, given.owner or '', score, id)
  if given.stack_key then
    add_share(given.stack_key, given.owner or '', tags[1] or '', score, id)
  end
  for dataset in datasets:gmatch('%S+') do
    reading[dataset] = reading[dataset] or {}
    table.insert(reading[dataset], id)
  end
  redis.call('XADD', KEY.events:format(id), '0-1', 'type', 'status', 'data', first_event, 'at', now)
  notify(id)
end

if new_sweep then
  local sequence = redis.call('INCR', KEY.sequence)
  redis.call('HSET', KEY.sweep:format(sweep), 'sequence', sequence, 'version', 0, 'created_at_ms', now, unpack(ARGV, 6, 5 + s))
  redis.call('ZADD', KEY.sweeps, sequence, sweep)
end
local sequence = redis.call('INCRBY', KEY.sequence, count) - count
for place, job in ipairs(jobs) do
  create(job.id, job.datasets, job.first, job.last, sequence + place)
  if sweep and redis.call('HEXISTS', KEY.job:format(job.id), 'rung') == 1 then
    redis.call('HSET', KEY.trials:format(sweep), job.id, 'training ' .. place - 1 .. ' 0')
  end
end
for name, members in pairs(added) do
  redis.call('ZADD', name, unpack(members))
end
for known, groups in pairs(firsts) do
  for name, score in pairs(groups) do
    redis.call('ZADD', known, 'LT', score, name)
  end
end
for turns, present in pairs(newcomers) do
  for owner, turn in pairs(present) do
    redis.call('HSETNX', turns, owner, turn)
  end
end
for name, present in pairs(owners) do
  for owner in pairs(present) do
    redis.call('SADD', name, owner)
  end
end
for dataset, readers in pairs(reading) do
  redis.call('SADD', KEY.dataset_jobs:format(dataset), unpack(readers))
end
if added[KEY.queue] then
  wake(#added[KEY.queue] / 2, wake_parts)
elseif redis.call('LLEN', KEY.entries) == 0 then
  push(1, wake_parts)
end
return answer('ok', made)
