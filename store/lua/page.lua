-- One page of records, newest first. ARGV: index key, limit, id after which to go on or ''.
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
local ids = redis.call('ZREVRANGEBYSCORE', index, highest, '-inf', 'LIMIT', 0, limit + 1)
local answer = { 'ok', #ids > limit and 1 or 0 }
for i = 1, math.min(#ids, limit) do
  answer[#answer + 1] = record(ids[i])
end
return answer
