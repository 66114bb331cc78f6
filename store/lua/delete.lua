-- Forget a job that has ended. ARGV: id, seconds for which a page cursor still finds its place.
-- Answers {'ok', record} | {'missing'} | {'busy', status}.
local id = ARGV[1]
local key = KEY.job:format(id)
local status = redis.call('HGET', key, 'status')
if not status then
  return { 'missing' }
end
if not TERMINAL[status] then
  return { 'busy', status }
end
local last = record(id)
forget(id, ARGV[2])
return { 'ok', last }
