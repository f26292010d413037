-- A page of agents in the order of their names.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local page = call('ZRANGEBYLEX', PREFIX .. 'ag', after and '(' .. after or '-', '+', 'LIMIT', 0, most)
local answer = {}
for _, agent in ipairs(page) do
  local G = fetch('a:' .. agent)
  local b = G and find(G[G_PURSE], 'd')
  if b then
    roll(b)
    answer[#answer + 1] = {agent, G[G_STATUS], G[G_FRAMEWORK], G[G_OPEN], G[G_LABELS], b[B_SPENT], b[B_RESERVED],
      b[B_LIMIT], G[G_REGISTERED], G[G_SEEN]}
  end
end
return {'OK', encode(answer)}
