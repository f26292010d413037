-- One API key, or all of them: {id, role, hash, name, author, made, revoked}; and how many are in force.
T = fetch('t')
if not T then return {'OK', encode({0, {}})} end
local answer = {}
for _, id in ipairs(A[1] and {A[1]} or call('SMEMBERS', PREFIX .. 'ks')) do
  local blob = call('GET', PREFIX .. 'k:' .. id)
  if blob then answer[#answer + 1] = decode(blob) end
end
return {'OK', encode({T[T_KEYS], answer})}
