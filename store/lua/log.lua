-- The clock, and the log of a job. Of what all scripts share this comes first; before it stand KEY, NOTIFY, ENDED,
-- TRANSITIONS, TERMINAL, HELD, REQUESTS, YIELDS, MAX_CRASHES and EVENTS_KEPT, written out from the Python tables.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Milliseconds since 1970 as ISO-8601 in UTC (civil calendar from a day count, proleptic Gregorian).
local function iso(ms)
  local days = math.floor(ms / 86400000)
  local rest = ms - days * 86400000
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day, math.floor(rest / 3600000),
    math.floor(rest / 60000) % 60, math.floor(rest / 1000) % 60, rest % 1000)
end

-- Append one event; its number is the next whole one, and doubles as the stream id 0-<n>.
local function emit(id, kind, data, now)
  local number = redis.call('HINCRBY', KEY.job:format(id), 'last_event', 1)
  redis.call('XADD', KEY.events:format(id), 'MAXLEN', '~', EVENTS_KEPT, '0-' .. number,
    'type', kind, 'data', data, 'at', now)
end

local function notify(id)
  redis.call('PUBLISH', NOTIFY, id)
end
