-- Persons, one or all: each with up to how much it may approve, or false. Of one named by a credential, whose it is.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local found, ceilings = {}, {}
local function add(P)
  found[#found + 1], ceilings[#ceilings + 1] = P, tonumber(call('HGET', PREFIX .. 'ol', P[PERSON_NAME]) or nil) or false
end
local who = name
if name then
  local P
  who, P = person_of(name)
  if P then add(P) end
else
  for _, blob in ipairs(call('HVALS', PREFIX .. 'pe')) do add(complete_PERSON(decode(blob))) end
end
return {'OK', encode({who or false, found, ceilings})}
