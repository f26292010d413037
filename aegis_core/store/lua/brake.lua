-- Blocks or frees an agent, or halts or resumes the tenant: in force at the next request everywhere.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if agent then
  local G = fetch('a:' .. agent)
  if not G then return {'NO_AGENT'} end
  G[G_STATUS] = status
  change('a:' .. agent)
  call(status == 'blocked' and 'SADD' or 'SREM', PREFIX .. 'bl', agent)
else
  T[T_STATUS] = status
  change('t')
end
flush()
event(agent and 'agent_' .. status or 'tenant_' .. status, encode({NOW, agent or false, author}))
return {'OK', NOW}
