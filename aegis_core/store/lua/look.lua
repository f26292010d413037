-- The present state of some records, A[1] their ids; whoever looks first after a deadline ends it. A[2]: their agents
-- look, and learn what is granted; A[3]: where they hear of locks. Empty for a record that there is not.
local ids, claims, inbox = unpack(A, 1, 3)
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
local answers = {}
for i = 1, #ids do
  local id = ids[i]
  local blob = call('GET', PREFIX .. 'r:' .. id) or ''
  local R = blob ~= '' and decode(blob)
  if R and claims and R[R_LOCK] and unheard(R) and NOW >= T[T_DUE] then
    sweep(4) -- its lock may be held by a grant that is over
    blob = call('GET', PREFIX .. 'r:' .. id) or ''
    R = blob ~= '' and decode(blob)
  end
  if R and (overdue(R) or claims and unheard(R)) then
    if overdue(R) then expire(id, R) end
    blob = claims and claim(id, R, inbox) or encode(R)
    flush() -- each whole, whatever becomes of the next
  end
  if R and R[R_LOCK] then blob = with_standing(id, R) end
  answers[i] = blob
end
return {'OK', answers, NOW}
