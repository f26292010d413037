-- Up to how many nano-dollars a person, or a credential that is nobody's, may approve; false lifts the ceiling.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local who, by = person_of(operator), person_of(author)
if who == '' or by == '' then return {'CREDENTIAL_ENDED'} end
if who == by then return {'OWN_LIMIT'} end
if nanos then call('HSET', PREFIX .. 'ol', who, string.format('%.0f', nanos))
else call('HDEL', PREFIX .. 'ol', who) end
event('ceiling_set', encode({NOW, who, nanos, by}))
return {'OK', NOW}
