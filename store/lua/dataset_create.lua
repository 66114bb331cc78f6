-- Record a data set, or find that it is there. ARGV: id, record (JSON).
-- Answers its hash as field, value, …
local key = KEY.dataset:format(ARGV[1])
if redis.call('EXISTS', key) == 0 then
  local sequence = redis.call('INCR', KEY.sequence)
  redis.call('HSET', key, 'record', ARGV[2], 'sequence', sequence, 'created_at_ms', now_ms())
  redis.call('ZADD', KEY.datasets, sequence, ARGV[1])
end
return redis.call('HGETALL', key)
