-- A version of the policy, or the one in force.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'p:' .. (version or T[T_POLICY]))
if not blob then return {'NO_POLICY'} end
return {'OK', blob, T[T_POLICY], NOW}
