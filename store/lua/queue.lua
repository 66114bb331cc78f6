-- Where jobs wait: their queue, their owner's line in it, their share of a stack; and wake-ups for those who take them.

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
