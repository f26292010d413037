-- Makes, replaces or revokes an API key. Only its hash is stored. Keys of the proxy do not open the HTTP API, so they are not
-- among those for which it is counted whether it asks for any.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'k:' .. id)
local Y
if act == 'created' then
  if blob then return {'OK', T[T_KEYS]} end
  if not terms then T[T_KEYS] = T[T_KEYS] + 1 end
  call('SADD', PREFIX .. 'ks', id)
  Y = NEW_Y
  Y[Y_ID], Y[Y_ROLE], Y[Y_HASH], Y[Y_NAME], Y[Y_AUTHOR], Y[Y_MADE], Y[Y_REVOKED] = id, role, hash, name, author, NOW, 0
  Y[Y_TERMS] = terms or false
else
  if not blob then return {'NO_KEY'} end
  Y = complete_Y(decode(blob))
  if Y[Y_REVOKED] > 0 then return {'OK', T[T_KEYS]} end
  Y[Y_REVOKED] = NOW
  if not Y[Y_TERMS] then T[T_KEYS] = T[T_KEYS] - 1 end
end
call('SET', PREFIX .. 'k:' .. id, encode(Y))
change('t')
flush()
event('key_' .. act, encode({NOW, id, role or false, name or false, author}))
return {'OK', T[T_KEYS]}
