-- One record with its place in the queue. ARGV: id. An empty answer: no such job.
if redis.call('EXISTS', KEY.job:format(ARGV[1])) == 0 then
  return {}
end
return record(ARGV[1])
