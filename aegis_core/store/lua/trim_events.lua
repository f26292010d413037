-- Removes events that are older than they may be, and of some agents the words of events that are gone. Answers how many events
-- went, and the agent to go on after.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local age, head, gone = T[T_CONFIG][C_AGE], PREFIX .. 'e', 0
if age > 0 then gone = call('XTRIM', head, 'MINID', string.format('%.0f', math.max(0, NOW - age))) end
local oldest = call('XRANGE', head, '-', '+', 'COUNT', 1)[1]
if not oldest then return {'OK', gone, ''} end
local agents = call('ZRANGEBYLEX', PREFIX .. 'ag', after and '(' .. after or '-', '+', 'LIMIT', 0, most)
for i = 1, #agents do redis.pcall('XTRIM', PREFIX .. 'w:' .. agents[i], 'MINID', oldest[1]) end
return {'OK', gone, #agents == most and agents[#agents] or ''}
