-- Remembers which prices are in use; others than before are an event.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local before = call('GET', PREFIX .. 'pv')
if before ~= version then
  call('SET', PREFIX .. 'pv', version)
  if before then event('prices_changed', encode({NOW, version, before, 'prices'})) end
end
return {'OK', NOW}
