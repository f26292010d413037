-- Says of agents, once a day, that much of what was charged to them in the last hour is estimated.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local day = window_number('d')
for at = 0, #found - 1, ESTIMATES_WIDTH do
  local agent = found[at + ESTIMATES_AGENT]
  local G = fetch('a:' .. agent)
  if G and G[G_DOUBTED] < day then
    G[G_DOUBTED] = day
    change('a:' .. agent)
    event('estimates_high', encode({NOW, agent, found[at + ESTIMATES_CHARGED], found[at + ESTIMATES_ESTIMATED]}))
  end
end
flush()
return {'OK', NOW}
