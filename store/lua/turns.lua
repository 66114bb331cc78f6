-- In which order waiting jobs are claimed: owners take turns.

local rotations = {}

-- The owners with jobs of a priority in these queues, in the order in which they are to lead: `name`, `turn`, `jobs`;
-- `at` is the place of each among them, `more_urgent` the number of jobs of higher priorities. It is worked out once in a
-- script, whatever the script changes.
local function rotation(queues, priority)
  local key = table.concat(queues, ' ') .. ' ' .. priority
  if rotations[key] then
    return rotations[key]
  end
  local low, high, jobs = first_score(priority), '(' .. first_score(priority - 1), {}
  local found = { at = {}, more_urgent = 0 }
  for _, queue in ipairs(queues) do
    found.more_urgent = found.more_urgent + redis.call('ZCOUNT', queue, '-inf', '(' .. low)
    for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEY.owners:format(queue), '-inf', high)) do
      jobs[owner] = (jobs[owner] or 0) + redis.call('ZCOUNT', KEY.line:format(queue, owner), low, high)
    end
  end
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

-- How many jobs are to be claimed before this one, of which the record says what it wants and whose it is: from its own
-- queue, and from the others of the workers that it waits for.
local function queue_position(id, wanted, owner)
  local own = queue_for(wanted)
  local score = tonumber(redis.call('ZSCORE', own, id) or nil)
  if not score then
    return nil
  end
  local queues = own == KEY.queue and { own } or queues_for(wanted)
  local circle, older = rotation(queues, priority_of(score)), older_of(queues, owner, score)
  local rounds, before = older + 1, older + circle.more_urgent
  for _, other in ipairs(circle) do
    if other.name == owner then
      rounds = older -- those behind it in turn lead once less before it
    else
      before = before + math.min(other.jobs, rounds)
    end
  end
  return before
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
