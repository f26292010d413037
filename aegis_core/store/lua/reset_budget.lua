-- Begins the present window of one budget anew, for operators: nothing is spent. What is held may still be spent today, so it
-- counts as that, and is not given back to this budget when it ends with less.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if owner == 's' then
  local S = fetch('s:' .. sid)
  agent = S and S[S_AGENT] or false
end
local purse, name = purse_of(owner, agent, sid)
local b = purse and find(purse, kind)
if not b then
  if owner == 'a' and not purse then return {'NO_AGENT'} end
  if owner == 's' and not purse then return {'NO_SESSION'} end
  return {'NO_BUDGET'}
end
roll(b)
local spent, held, kept = math.max(0, b[B_SPENT] - b[B_KEPT]), b[B_RESERVED], b[B_KEPT] + b[B_RESERVED]
local until_then = ahead(b) and budget_end(b)
b[B_RESETS] = (b[B_RESETS] + 1) % 1024
b[B_WINDOW], b[B_SPENT], b[B_RESERVED], b[B_CROSSED], b[B_ALERT], b[B_TOLD] = 0, 0, 0, 0, false, 0
if b[B_RING] then b[B_RING] = NEW_E end
if kind == 't' then b[B_WINDOW] = b[B_RESETS] / 1024 end -- it has one window, whose number is 0
roll(b)
add(b, b[B_WINDOW], kept, 0)
b[B_KEPT] = kept
change(name)
event('budget_reset', encode({NOW, owner, agent or false, sid or false, kind, b[B_LIMIT], spent, held, until_then, author}))
note_crossing(b, owner, agent, sid)
flush()
return {'OK', encode({owner, b[B_KIND], b[B_LIMIT], b[B_SPENT], b[B_RESERVED], budget_end(b)}), encode({spent, held})}
