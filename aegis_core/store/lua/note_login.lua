-- Tells of credentials that did not hold, so many from one address since it was told last.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local count, whom = refusals_to_tell('login', address, why, times)
if count then event('login_failed', encode({NOW, whom, why, count})) end
return {'OK'}
