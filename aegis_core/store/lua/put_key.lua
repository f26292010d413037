-- Makes, replaces or revokes an API key. Only its hash is stored.
local id, role, hash, name, author, act = unpack(A, 1, 6)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'k:' .. id)
if act == 'created' then
  if blob then return {'OK', T[T_KEYS]} end
  T[T_KEYS] = T[T_KEYS] + 1
  call('SADD', PREFIX .. 'ks', id)
  call('SET', PREFIX .. 'k:' .. id, encode({id, role, hash, name, author, NOW, 0}))
else
  if not blob then return {'NO_KEY'} end
  local key = decode(blob)
  if key[7] > 0 then return {'OK', T[T_KEYS]} end
  key[7] = NOW
  T[T_KEYS] = T[T_KEYS] - 1
  call('SET', PREFIX .. 'k:' .. id, encode(key))
end
change('t')
flush()
event('key_' .. act, encode({NOW, id, role or false, name or false, author}))
return {'OK', T[T_KEYS]}
