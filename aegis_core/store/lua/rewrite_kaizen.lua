-- Puts another text in the place of a report, if it is still the one that was read. It is kept as long as before.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'kd:' .. string.format('%.0f', day)
if call('GET', name) ~= before then return {'OK', 0} end
call('SET', name, report, 'KEEPTTL')
return {'OK', 1}
