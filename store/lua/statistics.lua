-- The state of the queue. ARGV: statuses.
-- Answers {ms that the oldest queued job has waited or '', living workers, number of jobs with each status, …}.
local oldest = redis.call('ZRANGE', KEY.status:format('queued'), 0, 0)[1]
local created = oldest and redis.call('HGET', KEY.job:format(oldest), 'created_at_ms')
local living = 0
for _, name in ipairs(redis.call('SMEMBERS', KEY.workers)) do
  living = living + redis.call('EXISTS', KEY.worker:format(name))
end
local answer = { created and now_ms() - created or '', living }
for i, status in ipairs(ARGV) do
  answer[2 + i] = redis.call('ZCARD', KEY.status:format(status))
end
return answer
