-- What agents wrote, by agent and event: words and salt, or false where they are kept no longer.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local found = {}
for i = 1, #places do
  local agent, id = places[i][1], places[i][2]
  local entry, of = redis.pcall('XRANGE', PREFIX .. 'w:' .. agent, id, id, 'COUNT', 1)[1], {}
  for at = 1, entry and #entry[2] or 0, 2 do of[entry[2][at]] = entry[2][at + 1] end
  found[i] = of.w and {of.w, of.s} or false
end
return {'OK', found}
