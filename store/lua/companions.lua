-- The queued jobs that may train beside one that was claimed, the next first, and who would be overtaken by them.
-- ARGV: stack key, the worker's device, most.
-- Answers {score of the best queued job that is none of them and that this device may take or '', record, record, …},
-- each record as field, value, … of what a planner looks at.
local key, device, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ids = most > 0 and redis.call('ZRANGE', KEY.stack:format(key), 0, most - 1) or {}
local among = {}
for _, id in ipairs(ids) do
  among[id] = true
end

-- Both are in the order of the queue: whoever is first in it and not among them comes within as many places.
local head
for _, queue in ipairs({ KEY.queue, KEY.device_queue:format(device) }) do
  local found = redis.call('ZRANGE', queue, 0, #ids, 'WITHSCORES')
  for i = 1, #found, 2 do
    if not among[found[i]] then
      local score = tonumber(found[i + 1])
      head = head and math.min(head, score) or score
      break
    end
  end
end

local answer = { head and string.format('%.0f', head) or '' }
local fields = { 'id', 'priority', 'sequence', 'tags', 'crashes', 'stack' }
for _, id in ipairs(ids) do
  local values = redis.call('HMGET', KEY.job:format(id), unpack(fields))
  if values[1] then
    answer[#answer + 1] = values
  end
end
return answer
