-- Puts a policy document in force, at the very next request everywhere. The same document again changes nothing. With
-- `expected` only in place of that version, with which it was compared.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if expected and T[T_POLICY] ~= expected then return {'STALE', T[T_POLICY]} end
local present = complete_P(decode(call('GET', PREFIX .. 'p:' .. T[T_POLICY])))
if present[P_DIGEST] ~= fingerprint then
  local version = math.max(T[T_POLICY], T[T_NUMBERED]) + 1
  local P = NEW_P
  P[P_VERSION], P[P_DOCUMENT], P[P_DIGEST], P[P_AUTHOR], P[P_AT] = version, document, fingerprint, author, NOW
  P[P_PARENT] = parent or T[T_POLICY]
  call('SET', PREFIX .. 'p:' .. version, encode(P))
  call('DEL', PREFIX .. 'p:' .. version - keep)
  T[T_POLICY], T[T_NUMBERED], T[T_CANARY] = version, version, false -- what a person publishes ends what is tried
  change('t')
  flush()
  event('policy_published', encode({NOW, version, fingerprint, author}))
end
return {'OK', T[T_POLICY]}
