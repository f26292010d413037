-- What is approved in advance now, and up to how much each operator may approve.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local kept = {}
for _, V in ipairs(fetch('v') or {}) do
  if V[V_EXPIRES] > NOW then kept[#kept + 1] = V end
end
return {'OK', encode({kept, call('HGETALL', PREFIX .. 'ol')})}
