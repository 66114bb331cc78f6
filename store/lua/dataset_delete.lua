-- Forget a data set that no unfinished job uses. ARGV: id, seconds for which a page cursor still finds its place.
-- Answers {'ok'} | {'missing'} | {'busy', number of jobs}.
local key = KEY.dataset:format(ARGV[1])
local sequence = redis.call('HGET', key, 'sequence')
if not sequence then
  return { 'missing' }
end
local jobs = redis.call('SCARD', KEY.dataset_jobs:format(ARGV[1]))
if jobs > 0 then
  return { 'busy', jobs }
end
redis.call('ZREM', KEY.datasets, ARGV[1])
redis.call('SET', KEY.deleted:format(ARGV[1]), sequence, 'EX', ARGV[2])
redis.call('DEL', key)
return { 'ok' }
