-- Replaces an agent's labels, by which shared budgets find it. Only an operator's command comes here.
local agent, labels, author = unpack(A, 1, 3)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local G = fetch('a:' .. agent)
if not G then return {'NO_AGENT'} end
G[G_LABELS] = labels
change('a:' .. agent)
flush()
event('agent_labelled', encode({NOW, agent, labels, author}))
return {'OK'}
