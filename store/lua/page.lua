-- One page of records, newest first. ARGV: index key, limit, id after which to go on or '', the tag and the status that
-- are asked for or '', further index keys …
-- The jobs are those of the first index that are in all the others; where there are others it is to be a short one.
-- Answers {'ok', has_more, record, record, …} or {'missing'} for an unknown cursor.
local index, limit, after, tag, status = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local highest = '+inf'
if after ~= '' then
  local sequence = redis.call('HGET', KEY.job:format(after), 'sequence') or redis.call('GET', KEY.deleted:format(after))
  if not sequence then
    return { 'missing' }
  end
  highest = '(' .. sequence
end

local function in_all_others(id)
  for i = 6, #ARGV do
    if not redis.call('ZSCORE', ARGV[i], id) then
      return false
    end
  end
  return true
end

-- Whether a job that is listed by its tag still has it, and the status. While its tags were damaged no script knew which
-- indexes it is in; it leaves them here.
local function belongs(id)
  if tag == '' then
    return true
  end
  local present, tags = unpack(redis.call('HMGET', KEY.job:format(id), 'status', 'tags'))
  local has_tag = false
  for _, own in ipairs(tags_in(tags)) do
    has_tag = has_tag or own == tag
  end
  if not has_tag then
    redis.call('ZREM', KEY.tag:format(tag), id)
  end
  local stays = has_tag and (status == '' or present == status)
  if not stays and status ~= '' then
    redis.call('ZREM', KEY.both:format(status, tag), id)
  end
  return stays
end

local found = {}
if #ARGV < 6 then
  local all_belong
  repeat
    found, all_belong = redis.call('ZREVRANGEBYSCORE', index, highest, '-inf', 'LIMIT', 0, limit + 1), true
    for _, id in ipairs(found) do
      all_belong = belongs(id) and all_belong
    end
  until all_belong
else
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', index, highest, '-inf')) do
    if in_all_others(id) and belongs(id) then
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
