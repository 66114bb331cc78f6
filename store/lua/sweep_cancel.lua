-- Cancel every job of a sweep that has not ended; one whose jobs have all ended stays as it is. ARGV: id. Answers how many there were, or false for no such sweep.
local sweep = ARGV[1]
if redis.call('EXISTS', KEY.sweep:format(sweep)) == 0 then
  return false
end
local now, count = now_ms(), 0
for _, id in ipairs(redis.call('ZRANGE', KEY.swept:format(sweep), 0, -1)) do
  local status = redis.call('HGET', KEY.job:format(id), 'status')
  local to = REQUESTS.cancel[status]
  if to then
    count = count + 1
    if to ~= status then
      move(id, to, 'sweep_cancelled', now)
    end
  end
end
if count > 0 then
  redis.call('HSETNX', KEY.sweep:format(sweep), 'cancelled_at_ms', now)
end
return count
