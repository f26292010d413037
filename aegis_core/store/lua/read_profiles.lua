-- The agent profiles in force: version and document, empty before the first.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'pf')
return {'OK', blob or encode({0, ''})}
