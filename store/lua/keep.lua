-- Keep the columns of a curve that has ended, for as long as its job is there. ARGV: id, columns.
local id = ARGV[1]
if redis.call('EXISTS', KEY.job:format(id)) == 1 then
  redis.call('SET', KEY.curve:format(id), ARGV[2])
end
