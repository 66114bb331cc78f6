-- Take queued jobs under a lease. ARGV: worker id, lease in ms, token, candidate ids …
-- Without candidates: the best one by priority and age. With: each of them that is still queued.
-- Answers the records taken; the same token gets the same answer again.
local worker, lease_ms, token = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local receipt = KEY.claimed:format(token)
local ids = redis.call('LRANGE', receipt, 0, -1)

-- The best queued job; a stray entry, which no script leaves, must not block the queue.
local function best()
  while true do
    local id = redis.call('ZRANGE', KEY.queue, 0, 0)[1]
    if not id or redis.call('HGET', KEY.job:format(id), 'status') == 'queued' then
      return id
    end
    redis.call('ZREM', KEY.queue, id)
  end
end

if #ids == 0 then
  local now = now_ms()
  local candidates = #ARGV > 3 and { unpack(ARGV, 4) } or { best() }
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
