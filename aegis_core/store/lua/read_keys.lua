-- One API key, or all of them; and how many are in force.
T = fetch('t')
if not T then return {'OK', encode({0, {}})} end
local answer = {}
for _, each in ipairs(id and {id} or call('SMEMBERS', PREFIX .. 'ks')) do
  local blob = call('GET', PREFIX .. 'k:' .. each)
  if blob then answer[#answer + 1] = decode(blob) end
end
return {'OK', encode({T[T_KEYS], answer})}
