-- Change what a user may change. ARGV: id, then field, value, … of name, tags, metadata, priority.
-- Indexes and the queue follow in the same step. Answers the record, empty for no such job.
local id = ARGV[1]
local key = KEY.job:format(id)
local status, old_tags, sequence, sweep = unpack(redis.call('HMGET', key, 'status', 'tags', 'sequence', 'sweep'))
if not status then
  return {}
end
for _, name in ipairs(index_keys(status, tags_in(old_tags), sweep)) do
  redis.call('ZREM', name, id)
end
if status == 'queued' then
  dequeue(id) -- its share of a stack follows its tags
end
redis.call('HSET', key, 'updated_at_ms', now_ms(), unpack(ARGV, 2))
local tags, priority = unpack(redis.call('HMGET', key, 'tags', 'priority'))
for _, name in ipairs(index_keys(status, tags_in(tags), sweep)) do
  redis.call('ZADD', name, sequence, id)
end
if status == 'queued' then
  enqueue(id, priority, sequence)
end
notify(id)
return record(id)
