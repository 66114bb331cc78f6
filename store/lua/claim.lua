-- Take queued jobs under a lease. ARGV: worker id, lease in ms, token, the worker's device, candidate ids …
-- Without candidates: the best one by priority and age of those that this device may take. With: each of them that is
-- still queued.
-- Answers the records taken; the same token gets the same answer again.
local worker, lease_ms, token, device = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local receipt = KEY.claimed:format(token)
local ids = redis.call('LRANGE', receipt, 0, -1)

-- The first job of a queue and its score; a stray entry, which no script leaves, must not block the queue.
local function first_of(queue)
  while true do
    local id, score = unpack(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES'))
    if not id then
      return nil
    end
    local waits = redis.call('HGET', KEY.job:format(id), 'status') == 'queued'
    if waits and queue_of(id) == queue then
      return id, tonumber(score)
    end
    redis.call('ZREM', queue, id)
    if waits then -- recorded before there were queues for devices
      redis.call('ZADD', queue_of(id), score, id)
    end
  end
end

local function best()
  local id, score
  for _, queue in ipairs(queues_for(device)) do
    local first, first_score = first_of(queue)
    if first and (not id or first_score < score) then
      id, score = first, first_score
    end
  end
  return id
end

-- Who takes further jobs is awake: as many wake-ups are dropped, but never one that a queued job needs.
local function forget_wakeups(most)
  local surplus = redis.call('LLEN', KEY.entries) - redis.call('ZCARD', KEY.queue)
  for _ = 1, math.min(most, surplus) do
    redis.call('DEL', KEY.entry:format(redis.call('RPOP', KEY.entries)))
  end
end

if #ids == 0 then
  local now = now_ms()
  local candidates = #ARGV > 4 and { unpack(ARGV, 5) } or { best() }
  for _, id in ipairs(candidates) do
    local key = KEY.job:format(id)
    if redis.call('HGET', key, 'status') == 'queued' then
      redis.call('HINCRBY', key, 'fence', 1)
      redis.call('HSET', key, 'worker_id', worker)
      redis.call('HSETNX', key, 'started_at_ms', now)
      redis.call('ZADD', KEY.leases, now + lease_ms, id)
      move(id, 'running', '', now)
      ids[#ids + 1] = id
    end
  end
  if #ARGV > 4 then
    forget_wakeups(#ids)
  end
  if #ids > 0 then
    redis.call('RPUSH', receipt, unpack(ids))
    redis.call('EXPIRE', receipt, 60)
  end
end

local answer = {}
for i, id in ipairs(ids) do
  answer[i] = record(id)
end
return answer
