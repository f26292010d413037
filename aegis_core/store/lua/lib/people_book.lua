-- How persons and their credentials are written: added, linked, carried over, ended.

local function put_person(P) call('HSET', PREFIX .. 'pe', P[PERSON_NAME], encode(P)) end

local function note_person(kind, P, author, credential)
  local most = tonumber(call('HGET', PREFIX .. 'ol', P[PERSON_NAME]) or nil)
  event(kind, encode({NOW, P[PERSON_NAME], P[PERSON_ROLE], P[PERSON_GROUPS], most or false, credential or false, author}))
end

-- Gives a person a credential. Whose it is already, where it is another's.
local function link(P, credential)
  local whose = call('HGET', PREFIX .. 'pc', credential)
  if whose == P[PERSON_NAME] then return end
  if whose and whose ~= '' then return whose end
  call('HSET', PREFIX .. 'pc', credential, P[PERSON_NAME])
  P[PERSON_CREDENTIALS][#P[PERSON_CREDENTIALS] + 1] = credential
end

local function unlink(P, credential)
  local kept = {}
  for i = 1, #P[PERSON_CREDENTIALS] do
    if P[PERSON_CREDENTIALS][i] ~= credential then kept[#kept + 1] = P[PERSON_CREDENTIALS][i] end
  end
  call('HSET', PREFIX .. 'pc', credential, '') -- it stands for nobody, until it is somebody's again
  P[PERSON_CREDENTIALS] = kept
end

-- Why there can be no new person of a name: it looks like another one's, or there are too many.
local function look_alike(name, fold)
  local all = call('HVALS', PREFIX .. 'pe')
  if #all >= MOST_PEOPLE then return {'TOO_MANY_PEOPLE', MOST_PEOPLE} end
  for i = 1, #all do
    local P = complete_PERSON(decode(all[i]))
    if P[PERSON_FOLD] == fold and P[PERSON_NAME] ~= name then return {'LOOKS_ALIKE', P[PERSON_NAME]} end
  end
end

local function new_person(name, fold, role, author)
  local P = NEW_PERSON
  P[PERSON_NAME], P[PERSON_FOLD], P[PERSON_ROLE], P[PERSON_GROUPS], P[PERSON_CREDENTIALS] = name, fold, role, {}, {}
  P[PERSON_AUTHOR], P[PERSON_MADE], P[PERSON_REMOVED] = author, NOW, 0
  return P
end

-- An operator's key of an older version becomes a person's of its name, which no credential has.
local function carry_over(Y)
  if Y[Y_ROLE] ~= 'operator' or Y[Y_PERSON] or Y[Y_REVOKED] > 0 then return end
  local name = Y[Y_NAME]
  if string.find(name, ':', 1, true) or RESERVED_NAMES[name] then
    local most = call('HGET', PREFIX .. 'ol', name)
    name = Y[Y_ID]
    if most then call('HSET', PREFIX .. 'ol', name, most) end
  end
  local _, P = person_of(name)
  local made = not P
  if made then
    P = new_person(name, string.lower(name), 'operator', Y[Y_AUTHOR])
    P[PERSON_MADE] = Y[Y_MADE] -- what this key approved before, counts
  end
  link(P, 'key:' .. Y[Y_ID])
  Y[Y_PERSON] = name
  put_person(P)
  call('SET', PREFIX .. 'k:' .. Y[Y_ID], encode(Y))
  if made then note_person('person_added', P, 'carried_over') end
end

-- Ends a key of a person or agent, or one of the proxy.
local function end_key(Y, author)
  Y[Y_REVOKED] = NOW
  if not Y[Y_TERMS] then T[T_KEYS] = T[T_KEYS] - 1 end
  if Y[Y_PERSON] then call('HSET', PREFIX .. 'pc', 'key:' .. Y[Y_ID], '') end
  call('SET', PREFIX .. 'k:' .. Y[Y_ID], encode(Y))
  change('t')
  event('key_revoked', encode({NOW, Y[Y_ID], Y[Y_ROLE], Y[Y_NAME], author, Y[Y_PERSON]}))
end

-- How many owners there are besides one.
local function other_owners(name)
  local found = 0
  for _, blob in ipairs(call('HVALS', PREFIX .. 'pe')) do
    local P = complete_PERSON(decode(blob))
    if P[PERSON_ROLE] == 'owner' and P[PERSON_REMOVED] == 0 and P[PERSON_NAME] ~= name then found = found + 1 end
  end
  return found
end
