-- The present state of some records; the first to look after a deadline ends it. With `claims` their agents look,
-- and learn what is granted. Empty for a record that there is not.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local answers = {}
for i = 1, #ids do
  local id = ids[i]
  local blob = call('GET', PREFIX .. 'r:' .. id) or ''
  local R = blob ~= '' and complete_R(decode(blob))
  if R and claims and R[R_LOCK] and unheard(R) and NOW >= T[T_DUE] then
    sweep(4) -- its lock may be held by a grant that is over
    blob = call('GET', PREFIX .. 'r:' .. id) or ''
    R = blob ~= '' and complete_R(decode(blob))
  end
  if R and (overdue(R) or claims and unheard(R)) then
    if overdue(R) then expire(id, R) end
    blob = claims and claim(id, R, inbox, ruled) or encode(R)
    flush() -- each whole, whatever becomes of the next
  end
  if R and R[R_LOCK] then blob = with_standing(id, R) end
  answers[i] = blob
end
return {'OK', answers, NOW}
