-- Forgets what was learned from outcomes. The version grows, as it does with an outcome.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'o'
local counted = tonumber(call('HGET', name, VERSION_ROW) or 0)
local rows = math.max(0, call('HLEN', name) - 1)
call('DEL', name)
call('HSET', name, VERSION_ROW, string.format('%.0f', counted + 1))
event('outcomes_reset', encode({NOW, rows, author}))
return {'OK', rows}
