-- Forgets what was learned from outcomes. The version grows, as it does with an outcome.
local author = unpack(A, 1, 1)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'o'
local counted = tonumber(call('HGET', name, '#') or 0)
local rows = math.max(0, call('HLEN', name) - 1)
call('DEL', name)
call('HSET', name, '#', string.format('%.0f', counted + 1))
event('outcomes_reset', encode({NOW, rows, author}))
return {'OK', rows}
