-- Forget a sweep whose jobs have all ended, with its jobs. ARGV: id, seconds for which a page cursor still finds its
-- place. Answers {'ok', job id, job id, …} | {'missing'} | {'busy', unfinished jobs}.
local sweep = ARGV[1]
local key = KEY.sweep:format(sweep)
if redis.call('EXISTS', key) == 0 then
  return { 'missing' }
end
local ids, unfinished = redis.call('ZRANGE', KEY.swept:format(sweep), 0, -1), 0
for _, id in ipairs(ids) do
  if not TERMINAL[redis.call('HGET', KEY.job:format(id), 'status')] then
    unfinished = unfinished + 1
  end
end
if unfinished > 0 then
  return { 'busy', unfinished }
end
for _, id in ipairs(ids) do
  forget(id, ARGV[2])
end
redis.call('SET', KEY.deleted:format(sweep), redis.call('HGET', key, 'sequence'), 'EX', ARGV[2])
redis.call('ZREM', KEY.sweeps, sweep)
redis.call('SREM', KEY.undecided, sweep)
redis.call('DEL', key, KEY.trials:format(sweep))
return { 'ok', unpack(ids) }
