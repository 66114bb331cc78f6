-- Take back what holds an expired lease, and make good lost wake-ups.
-- ARGV: grace in ms, longest normal pause between two reaps in ms, most to push, wake-up parts …
-- After a longer pause (the server was down, stopped, or out of everybody's reach) the workers could not renew
-- either: they get the grace to do so before anything is taken from them.
-- Answers {in grace 0|1, wake-ups pushed, id, new status, id, new status, …}.
local grace_ms, pause_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
local last = tonumber(redis.call('GET', KEY.reaper_last) or 0)
redis.call('SET', KEY.reaper_last, now)
if now - last > pause_ms or now < last then
  redis.call('SET', KEY.reaper_grace, now + grace_ms)
end
local in_grace = now < tonumber(redis.call('GET', KEY.reaper_grace) or 0)

local taken = {}
if not in_grace then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.leases, '-inf', now, 'LIMIT', 0, 100)) do
    local status = redis.call('HGET', KEY.job:format(id), 'status')
    if status and HELD[status] then
      taken[#taken + 1] = id
      taken[#taken + 1] = crash(id, 'worker_lost', 'its worker stopped renewing the lease', now)
    else
      redis.call('ZREM', KEY.leases, id) -- a stray entry, which no script leaves, must not stop the reaper
    end
  end
end
return { in_grace and 1 or 0, wake(tonumber(ARGV[3]), { unpack(ARGV, 4) }), unpack(taken) }
