-- Sets one limit while agents run; what is spent and reserved stays as it is.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if owner == 's' then
  local S = fetch('s:' .. sid)
  agent = S and S[S_AGENT] or false
end
local purse, name = purse_of(owner, agent, sid)
if not purse then
  if owner == 'a' then return {'NO_AGENT'} end
  if owner == 's' then return {'NO_SESSION'} end
  purse, name = {}, shared_name(owner)
  HELD[name] = purse
  local at = ({l = A_LABELS, k = A_RESOURCES, m = A_MODELS})[string.sub(owner, 1, 1)]
  T[T_SHARED][at] = T[T_SHARED][at] + 1
  call('SADD', PREFIX .. 'bs', owner)
  change('t')
end
local b = find(purse, kind)
local before = b and b[B_LIMIT]
if not b then
  b = new_budget(kind, limit)
  purse[#purse + 1] = b
end
roll(b)
set_limit(b, limit)
change(name)
event('budget_set', encode({NOW, owner, agent or false, sid or false, kind, before or false, limit, author}))
note_crossing(b, owner, agent, sid)
flush()
return {'OK', encode({owner, b[B_KIND], b[B_LIMIT], b[B_SPENT], b[B_RESERVED], budget_end(b)})}
