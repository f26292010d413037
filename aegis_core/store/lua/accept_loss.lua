-- Finds agents and shared budgets that are known by name and whose records are gone; where the loss is accepted, they may
-- begin anew. `whole`: the tenant itself was gone, and has begun anew.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local agents, budgets = 0, 0
for _, agent in ipairs(call('ZRANGE', PREFIX .. 'ag', 0, -1)) do
  if call('EXISTS', PREFIX .. 'a:' .. agent) == 0 then
    agents = agents + 1
    if accepted then call('ZREM', PREFIX .. 'ag', agent) end
  end
end
local listed = call('ZCARD', PREFIX .. 'ag')
if listed ~= T[T_AGENTS] and not accepted and agents == 0 then agents = math.max(1, T[T_AGENTS] - listed) end
for _, owner in ipairs(call('SMEMBERS', PREFIX .. 'bs')) do
  if call('EXISTS', PREFIX .. shared_name(owner)) == 0 then
    budgets = budgets + 1
    if accepted then
      call('SREM', PREFIX .. 'bs', owner)
      local at = ({l = A_LABELS, k = A_RESOURCES, m = A_MODELS})[string.sub(owner, 1, 1)]
      T[T_SHARED][at] = T[T_SHARED][at] - 1
    end
  end
end
if accepted and (whole or agents + budgets > 0 or listed ~= T[T_AGENTS]) then
  T[T_AGENTS] = listed
  change('t')
  event('loss_accepted', encode({NOW, agents, budgets, whole, author}))
  flush()
end
return {'OK', agents, budgets}
