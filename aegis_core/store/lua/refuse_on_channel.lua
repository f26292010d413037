-- Counts what a channel refused somebody. The first time in a while it is an event, and answered: no flood drowns the rest.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name, field = PREFIX .. 'cx:' .. channel, who .. '\t' .. act
local known = call('HEXISTS', name, field) == 1
if not known and call('HLEN', name) >= most then return {'OK', 0} end
local times = call('HINCRBY', name, field, 1)
if call('PTTL', name) < 0 then call('PEXPIRE', name, keep) end
if times > 1 then return {'OK', 0} end
event('channel_refused', encode({NOW, channel, act, who}))
return {'OK', 1}
