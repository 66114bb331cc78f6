-- A user asks to cancel, pause or resume. ARGV: id, action, reason, wake-up parts …
-- Answers {'ok', record} | {'missing'} | {'illegal', status}.
local id, action, reason = ARGV[1], ARGV[2], ARGV[3]
local status = redis.call('HGET', KEY.job:format(id), 'status')
if not status then
  return { 'missing' }
end
local to = REQUESTS[action][status]
if not to then
  return { 'illegal', status }
end
if to ~= status then
  move(id, to, reason, now_ms())
  if to == 'queued' then
    wake_for(id, { unpack(ARGV, 4) })
  end
end
return { 'ok', record(id) }
