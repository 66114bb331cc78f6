-- One page of records, newest first. ARGV: index key, limit, id after which to go on or '', further index keys …
-- The jobs are those of the first index that are in all the others; where there are others it is to be a short one.
-- Answers {'ok', has_more, record, record, …} or {'missing'} for an unknown cursor.
local index, limit, after = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local highest = '+inf'
if after ~= '' then
  local sequence = redis.call('HGET', KEY.job:format(after), 'sequence') or redis.call('GET', KEY.deleted:format(after))
  if not sequence then
    return { 'missing' }
  end
  highest = '(' .. sequence
end

local function in_all_others(id)
  for i = 4, #ARGV do
    if not redis.call('ZSCORE', ARGV[i], id) then
      return false
    end
  end
  return true
end

local found = {}
if #ARGV < 4 then
  found = redis.call('ZREVRANGEBYSCORE', index, highest, '-inf', 'LIMIT', 0, limit + 1)
else
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', index, highest, '-inf')) do
    if in_all_others(id) then
      found[#found + 1] = id
      if #found > limit then
        break
      end
    end
  end
end
local answer = { 'ok', #found > limit and 1 or 0 }
for i = 1, math.min(#found, limit) do
  answer[#answer + 1] = record(found[i])
end
return answer
