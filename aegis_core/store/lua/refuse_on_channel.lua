-- Counts what a channel refused somebody. The first time in a while it is an event, and answered: no flood drowns the rest.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local times, whom = count_refusal(channel, who, act, 1)
if times > 1 or whom ~= who then return {'OK', 0} end
event('channel_refused', encode({NOW, channel, act, who}))
return {'OK', 1}
