-- Stores the report of a day and moves on, whole or not at all: only under the present fence, and only from the event and the
-- day that were the last ones, so that no day is closed twice. Where a clock had jumped, the newest day is not the last one.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'kz'
local stored = call('HMGET', name, 'fence', 'cursor', 'day')
if tonumber(stored[1] or 0) ~= fence or (stored[2] or '0') ~= before or tonumber(stored[3] or -1) ~= last then return {'OK', 0} end
call('SET', PREFIX .. 'kd:' .. string.format('%.0f', day), report, 'PX', string.format('%.0f', 402 * 86400000))
local newest = math.max(day, tonumber(call('HGET', name, 'newest') or 0))
call('HSET', name, 'cursor', cursor, 'number', string.format('%.0f', number), 'day', string.format('%.0f', day),
  'newest', string.format('%.0f', newest))
if missed > 0 then call('HINCRBY', name, 'missed', missed) end
for i = 1, #told do event(told[i][1], encode({NOW, unpack(told[i][2])})) end
return {'OK', 1}
