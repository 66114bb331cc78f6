-- The queued jobs that may train beside one that was claimed, and who would be overtaken by them.
-- ARGV: stack key, the worker's device, most, then of those who train already: owner, first tag, owner, first tag …
-- Answers {place of the next queued job that has another key and that this device may take or '', record, record, …},
-- each record as the values of what a planner looks at, its place behind them. A place is one in the order of claims,
-- as a score. The jobs come as places go round (see `worker/planner.py`):
-- higher priority first; among equals every owner in turn, of an owner every tag, of a tag the oldest.
local key, most, queues = ARGV[1], tonumber(ARGV[3]), queues_for(ARGV[2])
local CHUNK = 16

-- The next job of a share, which is nil after its last.
local function step(share)
  local at = share.at % CHUNK
  if at == 0 then
    share.chunk = redis.call('ZRANGE', share.name, share.at, share.at + CHUNK - 1, 'WITHSCORES')
  end
  local id, score = share.chunk[2 * at + 1], tonumber(share.chunk[2 * at + 2])
  share.next = id and
    { id = id, score = score, priority = priority_of(score), turn = share.taken + share.at, tag = share.tag }
  share.at = share.at + 1
end

-- The owner whose turn it is.
local function best_of(owners)
  local found
  for _, one in ipairs(owners) do
    if one.next and not (found and comes_before(found.next, one.next)) then
      found = one
    end
  end
  return found
end

-- Let a share sink to its place in a heap, whose first has the best to offer: there may be as many as jobs.
local function sink(shares, at)
  while true do
    local best, left = at, 2 * at
    for child = left, math.min(left + 1, #shares) do
      if comes_before(shares[child].next, shares[best].next) then
        best = child
      end
    end
    if best == at then
      return
    end
    shares[at], shares[best], at = shares[best], shares[at], best
  end
end

-- The best job of an owner was taken.
local function step_over(owner)
  local shares = owner.shares
  step(shares[1])
  if not shares[1].next then
    shares[1] = shares[#shares]
    shares[#shares] = nil
  end
  sink(shares, 1)
end

local function offer(owner)
  local job = owner.shares[1] and owner.shares[1].next
  owner.next = job and { id = job.id, score = job.score, priority = job.priority, turn = owner.taken, tag = job.tag,
    owner = owner.name }
end

-- Every owner, with those of its tags whose first jobs are before all others: nobody else can come among `most`.
local function owners_of()
  local taken, found = {}, {}
  for i = 4, #ARGV, 2 do
    local mine, tag = taken[ARGV[i]] or { seats = 0, tags = {} }, ARGV[i + 1]
    mine.seats, mine.tags[tag] = mine.seats + 1, (mine.tags[tag] or 0) + 1
    taken[ARGV[i]] = mine
  end
  local seats = (#ARGV - 3) / 2
  for _, name in ipairs(redis.call('SMEMBERS', KEY.stack_owners:format(key))) do
    local mine = taken[name] or { seats = 0, tags = {} }
    local owner = { name = name, taken = mine.seats, shares = {} }
    for _, tag in ipairs(redis.call('ZRANGE', KEY.stack_tags:format(key, name), 0, most + seats - 1)) do
      local share = { tag = tag, name = KEY.stack_share:format(key, name, tag), taken = mine.tags[tag] or 0, at = 0 }
      step(share)
      owner.shares[#owner.shares + 1] = share.next and share
    end
    for at = math.floor(#owner.shares / 2), 1, -1 do
      sink(owner.shares, at)
    end
    offer(owner)
    found[#found + 1] = owner
  end
  return found
end

local function by_turns()
  local owners, found = owners_of(), {}
  while #found < most do
    local owner = best_of(owners)
    if not owner then
      break
    end
    found[#found + 1] = owner.next
    owner.taken = owner.taken + 1
    step_over(owner)
    offer(owner)
  end
  return found
end

-- The score of the first in a line that is not of this key. All of a key wait in one queue, with the same scores: before
-- the first stranger the line and its part with this key agree, which halving finds at any length.
local function stranger_in(line, mine)
  local low, high = 0, redis.call('ZCARD', mine)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('ZRANGE', mine, middle, middle)[1]
    if redis.call('ZRANK', line, id) == middle then
      low = middle + 1
    else
      high = middle
    end
  end
  return tonumber(redis.call('ZRANGE', line, low, low, 'WITHSCORES')[2])
end

-- The place of the stranger that is claimed before all others; infinite where there is none.
local function next_stranger()
  local head = math.huge
  for _, queue in ipairs(queues) do
    for _, owner in ipairs(redis.call('ZRANGE', KEY.owners:format(queue), 0, -1)) do
      local score = stranger_in(KEY.line:format(queue, owner), KEY.stack:format(key, owner))
      head = score and math.min(head, place_of(queues, owner, score)) or head
    end
  end
  return head
end

-- An entry that does not belong into its share must not keep others out. No script leaves one, but those that move a job
-- whose tags are damaged do not know its former share; there it is no more, and the next answer has it in its own.
local function put_right(one, status, tag)
  leave_share(key, one.owner, one.tag, one.id)
  if status == 'queued' then
    join_share(key, one.owner, tag, one.score, one.id)
  elseif status then
    dequeue(one.id)
  end
end

local head = next_stranger()
local answer = { head < math.huge and string.format('%.0f', head) or '' }
local fields = { 'id', 'priority', 'sequence', 'tags', 'crashes', 'stack', 'owner', 'status' }
for _, one in ipairs(most > 0 and by_turns() or {}) do
  local values = redis.call('HMGET', KEY.job:format(one.id), unpack(fields))
  local status = table.remove(values)
  local tag = tags_in(values[4])[1] or ''
  if status == 'queued' and tag == one.tag then
    values[#values + 1] = string.format('%.0f', place_of(queues, values[7] or '', one.score))
    answer[#answer + 1] = values
  else
    put_right(one, status, tag)
  end
end
return answer
