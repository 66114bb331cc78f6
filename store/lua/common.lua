-- What all scripts share. KEY, NOTIFY, TRANSITIONS, TERMINAL, HELD, REQUESTS, YIELDS, MAX_CRASHES and
-- EVENTS_KEPT stand before this text, written out from the Python tables.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Milliseconds since 1970 as ISO-8601 in UTC (civil calendar from a day count, proleptic Gregorian).
local function iso(ms)
  local days = math.floor(ms / 86400000)
  local rest = ms - days * 86400000
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(rest / 3600000),
    math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
end

-- Append one event; its number is the next whole one, and doubles as the stream id 0-<n>.
local function emit(id, kind, data, now)
  local number = redis.call('HINCRBY', KEY.job:format(id), 'last_event', 1)
  redis.call('XADD', KEY.events:format(id), 'MAXLEN', '~', EVENTS_KEPT, '0-' .. number,
    'type', kind, 'data', data, 'at', now)
end

local function notify(id)
  redis.call('PUBLISH', NOTIFY, id)
end

local function queue_score(priority, sequence)
  return -tonumber(priority) * 1e13 + tonumber(sequence)
end

local function priority_of(score)
  return 0 - math.floor(score / 1e13) -- and not -0, which would be another name
end

-- The lowest score of a priority; below it are those of higher ones.
local function first_score(priority)
  return string.format('%.0f', queue_score(priority, 0))
end

-- `wanted` is auto, cpu, one GPU (cuda:0) or any of them (cuda).
local function queue_for(wanted)
  return wanted:sub(1, 4) == 'cuda' and KEY.device_queue:format(wanted) or KEY.queue
end

-- The queues from which a worker on this device takes.
local function queues_for(device)
  local found = { KEY.queue }
  if device:sub(1, 4) == 'cuda' then
    found[2] = KEY.device_queue:format('cuda')
    found[3] = device ~= 'cuda' and KEY.device_queue:format(device) or nil
  end
  return found
end

local function wanted_by(id)
  local key = KEY.job:format(id)
  local wanted = redis.call('HGET', key, 'wanted')
  if not wanted then
    local training = cjson.decode(redis.call('HGET', key, 'spec')).training
    wanted = type(training) == 'table' and training.device or 'auto'
    redis.call('HSET', key, 'wanted', wanted)
  end
  return wanted
end

-- Where a job waits: with all others, or with those that want the same GPU, or any GPU.
local function queue_of(id)
  return queue_for(wanted_by(id))
end

-- Put a job into the group `name`; `firsts` knows the score of each group's first.
local function join_group(group, firsts, name, score, id)
  redis.call('ZADD', group, score, id)
  redis.call('ZADD', firsts, 'LT', score, name)
end

local function leave_group(group, firsts, name, id)
  redis.call('ZREM', group, id)
  local first = redis.call('ZRANGE', group, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', firsts, first[2], name)
  else
    redis.call('ZREM', firsts, name)
  end
end

-- Whoever never led comes before all that did, in the order of the first jobs.
local function newcomer(score)
  return score % 1e13 - 1e13
end

-- Each owner's jobs wait in a line of their own beside their queue. Of the owners with jobs of the highest priority the
-- next to lead is the one that led least recently with such a job.
local function join_line(queue, owner, score, id)
  join_group(KEY.line:format(queue, owner), KEY.owners:format(queue), owner, score, id)
  redis.call('HSETNX', KEY.turns:format(priority_of(score)), owner, newcomer(score))
end

local function turn_of(priority, owner)
  return tonumber(redis.call('HGET', KEY.turns:format(priority), owner) or 0)
end

local function leave_line(queue, owner, id)
  leave_group(KEY.line:format(queue, owner), KEY.owners:format(queue), owner, id)
end

-- Among the queued jobs that may train together each has a place with those of its owner and first tag.
local function join_share(stack, owner, tag, score, id)
  redis.call('ZADD', KEY.stack:format(stack, owner), score, id)
  join_group(KEY.stack_share:format(stack, owner, tag), KEY.stack_tags:format(stack, owner), tag, score, id)
  redis.call('SADD', KEY.stack_owners:format(stack), owner)
end

local function leave_share(stack, owner, tag, id)
  local mine = KEY.stack:format(stack, owner)
  redis.call('ZREM', mine, id)
  leave_group(KEY.stack_share:format(stack, owner, tag), KEY.stack_tags:format(stack, owner), tag, id)
  if redis.call('EXISTS', mine) == 0 then
    redis.call('SREM', KEY.stack_owners:format(stack), owner)
  end
end

-- The tags that a record names; none where they cannot be read: what is damaged must not stop a script for all others.
local function tags_in(text)
  local is_json, tags = pcall(cjson.decode, text)
  return is_json and type(tags) == 'table' and tags or {}
end

-- Whose a job is, the stack that it may train in (false: none), and with which tag it takes a place there.
local function share_of(id)
  local owner, stack, tags = unpack(redis.call('HMGET', KEY.job:format(id), 'owner', 'stack_key', 'tags'))
  return owner or '', stack, stack and tags_in(tags)[1] or ''
end

-- A job begins to wait: in its queue, in its owner's line and, if it may train beside others, among these.
local function enqueue(id, priority, sequence)
  local score, queue = queue_score(priority, sequence), queue_of(id)
  local owner, stack, tag = share_of(id)
  redis.call('ZADD', queue, score, id)
  join_line(queue, owner, score, id)
  if stack then
    join_share(stack, owner, tag, score, id)
  end
end

local function dequeue(id)
  local queue = queue_of(id)
  local owner, stack, tag = share_of(id)
  redis.call('ZREM', queue, id)
  leave_line(queue, owner, id)
  if stack then
    leave_share(stack, owner, tag, id)
  end
end

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
  end
  notify(id)
end

local function push(count, fields)
  for _ = 1, count do
    local entry = 'wake_' .. redis.call('INCR', KEY.wakeups)
    redis.call('HSET', KEY.entry:format(entry), unpack(fields))
    redis.call('RPUSH', KEY.entries, entry)
  end
  if count > 0 then
    redis.call('SADD', KEY.rq_queues, KEY.entries)
  end
end

-- Push wake-ups until as many wait as jobs are queued for anyone, at most `most`. They are all alike, so this never
-- piles up, and one that was lost is made good by whoever comes next.
local function wake(most, fields)
  local missing = math.min(most, redis.call('ZCARD', KEY.queue) - redis.call('LLEN', KEY.entries))
  push(missing, fields)
  return math.max(missing, 0)
end

-- A job has come to wait. Workers look into the queue of their GPU by themselves; a wake-up only makes them quicker.
local function wake_for(id, fields)
  if queue_of(id) == KEY.queue then
    wake(1, fields)
  elseif redis.call('LLEN', KEY.entries) == 0 then
    push(1, fields)
  end
end

local rotations = {}

-- The owners with jobs of a priority in these queues, in the order in which they are to lead: `name`, `turn`, `jobs`;
-- `at` is the place of each among them. It is worked out once in a script, whatever the script changes.
local function rotation(queues, priority)
  local key = table.concat(queues, ' ') .. ' ' .. priority
  if rotations[key] then
    return rotations[key]
  end
  local low, high, jobs = first_score(priority), '(' .. first_score(priority - 1), {}
  for _, queue in ipairs(queues) do
    for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEY.owners:format(queue), '-inf', high)) do
      jobs[owner] = (jobs[owner] or 0) + redis.call('ZCOUNT', KEY.line:format(queue, owner), low, high)
    end
  end
  local found = { at = {} }
  for owner, count in pairs(jobs) do
    if count > 0 then
      found[#found + 1] = { name = owner, jobs = count, turn = turn_of(priority, owner) }
    end
  end
  table.sort(found, function(a, b) return a.turn < b.turn end)
  for place, owner in ipairs(found) do
    found.at[owner.name] = place - 1
  end
  rotations[key] = found
  return found
end

-- How many jobs of its owner, with the same priority and in these queues, are before one.
local function older_of(queues, owner, score)
  local low, count = first_score(priority_of(score)), 0
  for _, queue in ipairs(queues) do
    count = count + redis.call('ZCOUNT', KEY.line:format(queue, owner), low, '(' .. string.format('%.0f', score))
  end
  return count
end

-- Where a queued job is in the order of claims, as a score: owners take turns, of an owner the oldest comes first.
local function place_of(queues, owner, score)
  local priority = priority_of(score)
  local circle = rotation(queues, priority)
  return queue_score(priority, older_of(queues, owner, score) * #circle + (circle.at[owner] or 0))
end

-- How many jobs are to be claimed before this one: from its own queue, and from the others of the workers that it waits
-- for.
local function queue_position(id)
  local wanted = wanted_by(id)
  local own = queue_for(wanted)
  local score = tonumber(redis.call('ZSCORE', own, id) or nil)
  if not score then
    return nil
  end
  local queues = own == KEY.queue and { own } or queues_for(wanted)
  local priority, owner = priority_of(score), share_of(id)
  local older = older_of(queues, owner, score)
  local rounds, before = older + 1, older
  for _, queue in ipairs(queues) do
    before = before + redis.call('ZCOUNT', queue, '-inf', '(' .. first_score(priority))
  end
  for _, other in ipairs(rotation(queues, priority)) do
    if other.name == owner then
      rounds = older -- those behind it in turn lead once less before it
    else
      before = before + math.min(other.jobs, rounds)
    end
  end
  return before
end

-- The record as field, value, …, with its place in the queue while it waits there.
local function record(id)
  local key = KEY.job:format(id)
  local found = redis.call('HGETALL', key)
  local rank = redis.call('HGET', key, 'status') == 'queued' and queue_position(id)
  if rank then
    found[#found + 1] = 'queue_position'
    found[#found + 1] = tostring(rank)
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

-- Of two that lead their lines: the higher priority, then the owner whose turn was longer ago, then the older job.
local function comes_before(a, b)
  if a.priority ~= b.priority then
    return a.priority > b.priority
  end
  if a.turn ~= b.turn then
    return a.turn < b.turn
  end
  return a.score < b.score
end
