-- Makes, replaces or revokes an API key. Only its hash is stored.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'k:' .. id)
if act == 'created' then
  if blob then return {'OK', T[T_KEYS]} end
  T[T_KEYS] = T[T_KEYS] + 1
  call('SADD', PREFIX .. 'ks', id)
  local Y = NEW_Y
  Y[Y_ID], Y[Y_ROLE], Y[Y_HASH], Y[Y_NAME], Y[Y_AUTHOR], Y[Y_MADE], Y[Y_REVOKED] = id, role, hash, name, author, NOW, 0
  call('SET', PREFIX .. 'k:' .. id, encode(Y))
else
  if not blob then return {'NO_KEY'} end
  local Y = complete_Y(decode(blob))
  if Y[Y_REVOKED] > 0 then return {'OK', T[T_KEYS]} end
  Y[Y_REVOKED] = NOW
  T[T_KEYS] = T[T_KEYS] - 1
  call('SET', PREFIX .. 'k:' .. id, encode(Y))
end
change('t')
flush()
event('key_' .. act, encode({NOW, id, role or false, name or false, author}))
return {'OK', T[T_KEYS]}
