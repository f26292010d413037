-- A version of the policy, or the one in force. Without a version also what is tried instead of it in some sessions.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'p:' .. (version or T[T_POLICY]))
if not blob then return {'NO_POLICY'} end
local trial = not version and T[T_CANARY]
if not trial or trial[CANARY_PARENT] ~= T[T_POLICY] then return {'OK', blob, T[T_POLICY], NOW} end
return {'OK', blob, T[T_POLICY], NOW, encode(trial), call('GET', PREFIX .. 'p:' .. trial[CANARY_VERSION])}
