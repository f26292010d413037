-- Makes or revokes an API key. Only its hash is stored. Keys of the proxy do not open the HTTP API, so they are not among
-- those for which it is counted whether it asks for any. With a `person` it is that person's, who is made with the `role`
-- where there is none yet.
--@ people_book
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'k:' .. id)
local Y = blob and complete_Y(decode(blob))
if act == 'created' then
  if Y then return {'OK', T[T_KEYS]} end
  Y = NEW_Y
  Y[Y_ID], Y[Y_ROLE], Y[Y_HASH], Y[Y_NAME], Y[Y_AUTHOR], Y[Y_MADE], Y[Y_REVOKED] = id, role, hash, name, author, NOW, 0
  Y[Y_TERMS] = terms or false
  if person then
    local _, P = person_of(person)
    if P and P[PERSON_REMOVED] > 0 then return {'BELONGS_NO_MORE', false, person} end
    if P and role and P[PERSON_ROLE] ~= role then return {'OTHER_ROLE', person, P[PERSON_ROLE]} end
    if not P then
      if not role then return {'NO_PERSON'} end
      local clash = look_alike(person, fold)
      if clash then return clash end
      P = new_person(person, fold, role, author)
      note_person('person_added', P, author)
    end
    if #P[PERSON_CREDENTIALS] >= MOST_CREDENTIALS then return {'TOO_MANY_CREDENTIALS', MOST_CREDENTIALS} end
    link(P, 'key:' .. id)
    put_person(P)
    Y[Y_ROLE], Y[Y_PERSON], Y[Y_NAME] = 'person', person, person
  end
  call('SADD', PREFIX .. 'ks', id)
  call('SET', PREFIX .. 'k:' .. id, encode(Y))
  if not terms then T[T_KEYS] = T[T_KEYS] + 1 end
  change('t')
  event('key_created', encode({NOW, id, Y[Y_ROLE], Y[Y_NAME], author, Y[Y_PERSON]}))
else
  if not Y then return {'NO_KEY'} end
  if Y[Y_REVOKED] == 0 then
    end_key(Y, author)
    local _, P = person_of(Y[Y_PERSON] or '')
    if P then
      unlink(P, 'key:' .. id)
      put_person(P)
    end
  end
end
flush()
return {'OK', T[T_KEYS]}
