-- A job's record and all that changes with it: indexes, queue, leases, log.

-- Every index that holds jobs of this status, these tags and this sweep (or false), apart from the one of all jobs.
local function index_keys(status, tags, sweep)
  local found = { KEY.status:format(status) }
  if sweep then
    found[#found + 1] = KEY.swept:format(sweep)
    found[#found + 1] = KEY.swept_both:format(sweep, status)
  end
  for _, tag in ipairs(tags) do
    found[#found + 1] = KEY.tag:format(tag)
    found[#found + 1] = KEY.both:format(status, tag)
  end
  return found
end

local function status_text(status, reason, attempt, failure, now)
  return string.format('{"status":"%s","status_reason":%s,"attempt":%s,"error":%s,"at":"%s"}', status,
    reason == '' and 'null' or cjson.encode(reason), attempt, failure or 'null', iso(now))
end

local function status_event(id, key, kind, now)
  local status, reason, attempt, failure = unpack(redis.call('HMGET', key, 'status', 'status_reason', 'attempt', 'error'))
  emit(id, kind, status_text(status, reason, attempt, failure, now), now)
end

-- A trial of a sweep that halves has moved: somebody is to decide what follows.
local function set_trial(sweep, id, text)
  redis.call('HSET', KEY.trials:format(sweep), id, text)
  redis.call('HINCRBY', KEY.sweep:format(sweep), 'version', 1)
  redis.call('SADD', KEY.undecided, sweep)
end

local function end_trial(sweep, id)
  local trial = redis.call('HGET', KEY.trials:format(sweep), id)
  if trial and trial:match('^%S+') ~= 'stopped' then
    set_trial(sweep, id, (trial:gsub('^%S+', 'ended')))
  end
end

-- THE transition: record, indexes, queue, leases and log change together, or (illegal) nothing does.
local function move(id, to, reason, now)
  local key = KEY.job:format(id)
  local from, tags, dataset, priority, sequence, reads, sweep =
    unpack(redis.call('HMGET', key, 'status', 'tags', 'dataset', 'priority', 'sequence', 'reads', 'sweep'))
  if not (from and TRANSITIONS[from][to]) then
    error('illegal transition of ' .. id .. ': ' .. tostring(from) .. ' to ' .. to)
  end
  redis.call('HSET', key, 'status', to, 'status_reason', reason, 'updated_at_ms', now)
  redis.call('ZREM', KEY.status:format(from), id)
  redis.call('ZADD', KEY.status:format(to), sequence, id)
  for _, tag in ipairs(tags_in(tags)) do
    redis.call('ZREM', KEY.both:format(from, tag), id)
    redis.call('ZADD', KEY.both:format(to, tag), sequence, id)
  end
  if sweep then
    redis.call('ZREM', KEY.swept_both:format(sweep, from), id)
    redis.call('ZADD', KEY.swept_both:format(sweep, to), sequence, id)
    if TERMINAL[to] then
      end_trial(sweep, id)
    end
  end
  if to == 'queued' then
    enqueue(id, priority, sequence)
  elseif from == 'queued' then
    dequeue(id)
  end
  if HELD[from] and not HELD[to] then
    redis.call('ZREM', KEY.leases, id)
    redis.call('HDEL', key, 'worker_id')
  end
  if TERMINAL[to] then
    redis.call('HSET', key, 'finished_at_ms', now)
    for one in (dataset .. ' ' .. (reads or '')):gmatch('%S+') do
      redis.call('SREM', KEY.dataset_jobs:format(one), id)
    end
  end
  status_event(id, key, 'status', now)
  if TERMINAL[to] then
    status_event(id, key, 'end', now)
    redis.call('PUBLISH', ENDED, sweep and id .. ' ' .. sweep or id)
  end
  notify(id)
end

-- The record as field, value, …, with its place in the queue while it waits there.
local function record(id)
  local key = KEY.job:format(id)
  local found = redis.call('HGETALL', key)
  if redis.call('HGET', key, 'status') == 'queued' then
    local wanted, owner = unpack(redis.call('HMGET', key, 'wanted', 'owner'))
    local rank = queue_position(id, wanted or wanted_by(id), owner or '')
    if rank then
      found[#found + 1] = 'queue_position'
      found[#found + 1] = tostring(rank)
    end
  end
  return found
end

-- Whether the caller's fence still holds the job: it must be held, and by this very claim.
local function holds(key, fence)
  local status, present = unpack(redis.call('HMGET', key, 'status', 'fence'))
  return status and HELD[status] and present == fence and status or nil
end

-- A worker died with the job: count it, and put the job where it belongs.
local function crash(id, code, message, now)
  local key = KEY.job:format(id)
  local status = redis.call('HGET', key, 'status')
  local crashes = redis.call('HINCRBY', key, 'crashes', 1)
  local asked = 'queued'
  if status == 'running' and crashes >= MAX_CRASHES then
    asked = 'failed'
    redis.call('HSET', key, 'error', cjson.encode({ code = 'crashed',
      message = 'the worker died ' .. crashes .. ' times with this job; last: ' .. message .. ' (' .. code .. ')' }))
  end
  local to = YIELDS[status] and YIELDS[status][asked] or asked
  if not TERMINAL[to] then
    redis.call('HSET', key, 'attempt', crashes + 1)
  end
  move(id, to, to ~= asked and '' or asked == 'failed' and 'crashed' or code, now)
  return to
end

-- A job that has ended is no more; for `cursor_s` its id still finds its place in a listing.
local function forget(id, cursor_s)
  local key = KEY.job:format(id)
  local status, tags, sequence, sweep = unpack(redis.call('HMGET', key, 'status', 'tags', 'sequence', 'sweep'))
  for _, name in ipairs(index_keys(status, tags_in(tags), sweep)) do
    redis.call('ZREM', name, id)
  end
  redis.call('ZREM', KEY.jobs, id)
  redis.call('SET', KEY.deleted:format(id), sequence, 'EX', cursor_s)
  redis.call('DEL', key, KEY.events:format(id), KEY.curve:format(id))
  notify(id)
end
