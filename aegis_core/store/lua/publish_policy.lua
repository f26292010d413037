-- Puts a policy document in force, at the very next request everywhere. The same document again changes nothing.
local document, fingerprint, author, keep, parent = unpack(A, 1, 5)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local present = decode(call('GET', PREFIX .. 'p:' .. T[T_POLICY]))
if present[3] ~= fingerprint then
  local version = T[T_POLICY] + 1
  call('SET', PREFIX .. 'p:' .. version, encode({version, document, fingerprint, author, NOW, parent or T[T_POLICY]}))
  call('DEL', PREFIX .. 'p:' .. version - keep)
  T[T_POLICY] = version
  change('t')
  flush()
  event('policy_published', encode({NOW, version, fingerprint, author}))
end
return {'OK', T[T_POLICY]}
