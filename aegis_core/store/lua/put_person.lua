-- Adds, changes or removes a person, or gives and takes credentials. False in what is given leaves it as it is.
--@ people_book
T = fetch('t')
if not T then return {'NO_TENANT'} end
local _, P = person_of(name)
local mine = person_of(author) == name
if act == 'added' then
  if P and P[PERSON_REMOVED] == 0 then return {'PERSON_EXISTS', name} end
  local clash = not P and look_alike(name, fold)
  if clash then return clash end
  P = new_person(name, fold, role, author)
elseif not P or P[PERSON_REMOVED] > 0 then
  return {'NO_PERSON'}
end
local leaves = act == 'removed' or role and role ~= 'owner'
if act ~= 'added' and P[PERSON_ROLE] == 'owner' and leaves and other_owners(name) == 0 then return {'LAST_OWNER', name} end
if mine and (nanos ~= nil or groups or role and role ~= P[PERSON_ROLE]) then return {'OWN_LIMIT'} end
for i = 1, #credentials do
  local whose = call('HGET', PREFIX .. 'pc', credentials[i])
  if act == 'revoked' then
    if whose ~= name then return {'NOT_LINKED'} end
  elseif whose and whose ~= '' and whose ~= name then
    return {'CREDENTIAL_TAKEN', credentials[i], whose}
  end
end
if act ~= 'revoked' and #P[PERSON_CREDENTIALS] + #credentials > MOST_CREDENTIALS then
  return {'TOO_MANY_CREDENTIALS', MOST_CREDENTIALS}
end

P[PERSON_ROLE], P[PERSON_GROUPS] = role or P[PERSON_ROLE], groups or P[PERSON_GROUPS]
if nanos then call('HSET', PREFIX .. 'ol', name, string.format('%.0f', nanos))
elseif nanos == false or act == 'added' then call('HDEL', PREFIX .. 'ol', name) end
local ends = act == 'removed' and P[PERSON_CREDENTIALS] or act == 'revoked' and credentials or {}
for i = 1, #ends do
  local key = string.match(ends[i], '^key:(.*)')
  local blob = key and call('GET', PREFIX .. 'k:' .. key)
  local Y = blob and complete_Y(decode(blob))
  if Y and Y[Y_REVOKED] == 0 then end_key(Y, author) end
  unlink(P, ends[i])
end
for i = 1, act ~= 'revoked' and #credentials or 0 do link(P, credentials[i]) end
if act == 'removed' then P[PERSON_REMOVED] = NOW end
put_person(P)
flush()
local kinds = {added = 'person_added', removed = 'person_removed', changed = 'person_changed'}
if kinds[act] then note_person(kinds[act], P, author) end
for i = 1, act ~= 'removed' and #credentials or 0 do
  note_person(act == 'revoked' and 'credential_revoked' or 'credential_added', P, author, credentials[i])
end
return {'OK', encode({P, tonumber(call('HGET', PREFIX .. 'ol', name) or nil) or false})}
