-- Takes, keeps or (with no time) gives up the lease of a channel, so that of several processes one announces.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'cl:' .. channel
local found = call('GET', name)
if found and found ~= holder then return {'OK', 0, NOW} end
if milliseconds > 0 then
  call('SET', name, holder, 'PX', milliseconds)
  call('PEXPIRE', PREFIX .. 'ch:' .. channel, CHANNEL_HEALTH)
  return {'OK', 1, NOW}
end
if found then call('DEL', name) end
return {'OK', 0, NOW}
