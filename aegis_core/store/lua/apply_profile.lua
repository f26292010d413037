-- Writes what the profiles in force say of one agent into its record. Budgets that it names get its limits.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if version ~= T[T_PROFILES] then return {'STALE', T[T_PROFILES]} end
local G = fetch('a:' .. agent)
if not G then return {'NO_AGENT'} end
G[G_PROFILE], G[G_PRIORITY], G[G_CAPABILITIES], G[G_LABELS], G[G_TRUST] = version, priority, capabilities, labels, trust
for i = 1, #limits, 2 do
  local b = find(G[G_PURSE], limits[i])
  if not b then
    b = new_budget(limits[i], limits[i + 1])
    G[G_PURSE][#G[G_PURSE] + 1] = b
  end
  roll(b)
  set_limit(b, limits[i + 1])
  note_crossing(b, 'a', agent)
end
change('a:' .. agent)
flush()
return {'OK', version}
