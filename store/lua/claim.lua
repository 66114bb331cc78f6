-- Take queued jobs under a lease. ARGV: worker id, lease in ms, token, the worker's device, leads 0|1, candidate ids …
-- Without candidates: the next one of those that this device may take: of the highest priority, whose owner led least
-- recently, and of that owner the oldest. With: each of them that is still queued; the first of them leads if `leads`.
-- Answers the records taken; the same token gets the same answer again, but for those that were taken back meanwhile.
local worker, lease_ms, token, device = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local receipt = KEY.claimed:format(token)
local given_before, ids = redis.call('LRANGE', receipt, 0, -1), {}
for _, id in ipairs(given_before) do
  if redis.call('HGET', KEY.job:format(id), 'worker_id') == worker then
    ids[#ids + 1] = id
  end
end

local function waits_in(queue, id)
  return redis.call('HGET', KEY.job:format(id), 'status') == 'queued' and queue_of(id) == queue
end

-- The first job of a queue and its score; a stray entry, which no script leaves, must not block the queue.
local function first_of(queue)
  while true do
    local id, score = unpack(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES'))
    if not id then
      return nil
    end
    if waits_in(queue, id) then
      return id, tonumber(score)
    end
    redis.call('ZREM', queue, id)
    if redis.call('HGET', KEY.job:format(id), 'status') == 'queued' then -- recorded before there were queues for devices
      redis.call('ZADD', queue_of(id), score, id)
    end
  end
end

-- Who led least recently of those with jobs of a priority, the highest in the queue, and when that was.
local function next_owner(queue, priority)
  local found, turn
  local below = '(' .. first_score(priority - 1)
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEY.owners:format(queue), '-inf', below)) do
    local at = turn_of(priority, owner)
    if not turn or at < turn then
      found, turn = owner, at
    end
  end
  return found, turn
end

-- What a queue has to offer: the oldest job, among the most urgent ones, of the owner whose turn it is.
local function offer_of(queue)
  while true do
    local head, head_score = first_of(queue)
    if not head then
      return nil
    end
    local priority = priority_of(head_score)
    join_line(queue, (share_of(head)), head_score, head) -- it is there already, unless it is older than lines are
    local owner, turn = next_owner(queue, priority)
    local id, score = unpack(redis.call('ZRANGE', KEY.line:format(queue, owner), 0, 0, 'WITHSCORES'))
    if not id or not waits_in(queue, id) then
      leave_line(queue, owner, id or '') -- stray as well
    elseif priority_of(score) ~= priority then
      redis.call('ZADD', KEY.owners:format(queue), score, owner)
    else
      return { id = id, score = tonumber(score), turn = turn, priority = priority }
    end
  end
end

local function best()
  local found
  for _, queue in ipairs(queues_for(device)) do
    local offer = offer_of(queue)
    if offer and (not found or comes_before(offer, found)) then
      found = offer
    end
  end
  return found and found.id
end

-- Who takes further jobs is awake: as many wake-ups are dropped, but never one that a queued job needs.
local function forget_wakeups(most)
  local surplus = redis.call('LLEN', KEY.entries) - redis.call('ZCARD', KEY.queue)
  for _ = 1, math.min(most, surplus) do
    redis.call('DEL', KEY.entry:format(redis.call('RPOP', KEY.entries)))
  end
end

if #given_before == 0 then
  local now = now_ms()
  local given = #ARGV > 5
  local candidates = given and { unpack(ARGV, 6) } or { best() }
  local leader = (not given or ARGV[5] == '1') and candidates[1]
  for _, id in ipairs(candidates) do
    local key = KEY.job:format(id)
    if redis.call('HGET', key, 'status') == 'queued' then
      redis.call('HINCRBY', key, 'fence', 1)
      redis.call('HSET', key, 'worker_id', worker)
      redis.call('HSETNX', key, 'started_at_ms', now)
      redis.call('ZADD', KEY.leases, now + lease_ms, id)
      move(id, 'running', '', now)
      ids[#ids + 1] = id
      if id == leader then
        local turns = KEY.turns:format(redis.call('HGET', key, 'priority'))
        redis.call('HSET', turns, (share_of(id)), redis.call('INCR', KEY.turn))
      end
    end
  end
  if given then
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
