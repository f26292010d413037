-- Up to how many nano-dollars one operator may approve; false lifts the ceiling.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if nanos then call('HSET', PREFIX .. 'ol', operator, string.format('%.0f', nanos))
else call('HDEL', PREFIX .. 'ol', operator) end
event('ceiling_set', encode({NOW, operator, nanos, author}))
return {'OK', NOW}
