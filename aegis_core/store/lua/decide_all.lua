-- Several words at once, each whole whatever becomes of the next: `decide` is the body of decide_one. One that changes
-- its question comes alone, because what it tried and was refused must not be written by the next.
local answers = {}
for i = 1, #orders do
  A = orders[i]
  local said = decide_one()
  if said[1] == 'NO_TENANT' or said[1] == 'ZONE' then return said end
  answers[i] = said
end
return {'OK', answers}
