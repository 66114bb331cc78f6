-- The process that held the job died. ARGV: id, fence, code, message, wake-up parts …
-- Answers the record, or {} when the job was no longer that holder's.
local id = ARGV[1]
if not holds(KEY.job:format(id), ARGV[2]) then
  return {}
end
if crash(id, ARGV[3], ARGV[4], now_ms()) == 'queued' then
  wake_for(id, { unpack(ARGV, 5) })
end
return record(id)
