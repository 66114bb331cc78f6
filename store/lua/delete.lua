-- Forget a job that has ended. ARGV: id, seconds for which a page cursor still finds its place.
-- Answers {'ok', record} | {'missing'} | {'busy', status}.
local id = ARGV[1]
local key = KEY.job:format(id)
local status, tags, sequence = unpack(redis.call('HMGET', key, 'status', 'tags', 'sequence'))
if not status then
  return { 'missing' }
end
if not TERMINAL[status] then
  return { 'busy', status }
end
local last = record(id)
for _, name in ipairs(index_keys(status, cjson.decode(tags))) do
  redis.call('ZREM', name, id)
end
redis.call('ZREM', KEY.jobs, id)
redis.call('SET', KEY.deleted:format(id), sequence, 'EX', ARGV[2])
redis.call('DEL', key, KEY.events:format(id))
notify(id)
return { 'ok', last }
