-- Remembers how one direction of a channel goes; no problem is an empty text. That it broke, or works again, is an event.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'ch:' .. channel
local before = call('HGET', name, direction)
local broken, was_broken = problem ~= '', (before or '') ~= ''
call('HSET', name, direction, problem)
if broken ~= was_broken or not before then call('HSET', name, direction .. '_since', NOW) end
call('PEXPIRE', name, CHANNEL_HEALTH)
if broken ~= was_broken then
  event(broken and 'channel_failed' or 'channel_recovered', encode({NOW, problem, channel, direction}))
end
return {'OK', NOW}
