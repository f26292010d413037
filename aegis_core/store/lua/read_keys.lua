-- One API key, or all of them; how many are in force; and the person whose key the one is.
--@ people_book
T = fetch('t')
if not T then return {'NO_TENANT'} end
local answer, people = {}, {}
for _, each in ipairs(id and {id} or call('SMEMBERS', PREFIX .. 'ks')) do
  local blob = call('GET', PREFIX .. 'k:' .. each)
  if blob then
    local Y = complete_Y(decode(blob))
    carry_over(Y) -- perhaps an older version made it a moment ago
    local _, P = person_of(Y[Y_PERSON] or '')
    answer[#answer + 1], people[#people + 1] = Y, P
  end
end
return {'OK', encode({T[T_KEYS], answer, people})}
