-- Every budget that bounds an agent, or all shared ones when no agent is named, brought to the present window.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local owners = {'t'}
if agent then
  local G = fetch('a:' .. agent)
  if not G then return {'NO_AGENT'} end
  sid = sid or G[G_SESSION]
  local S = fetch('s:' .. sid)
  if S and S[S_AGENT] ~= agent then return {'NOT_YOURS'} end
  owners = {'a', 's', 't'}
  for _, label in ipairs(G[G_LABELS]) do owners[#owners + 1] = 'l:' .. label end
end
for _, owner in ipairs(call('SMEMBERS', PREFIX .. 'bs')) do
  if not agent or string.sub(owner, 1, 1) ~= 'l' then owners[#owners + 1] = owner end
end
if T[T_DUE] <= NOW and sweep(200) then return {'SWEEP'} end
local answer = {}
for _, owner in ipairs(owners) do
  for _, b in ipairs(purse_of(owner, agent, sid) or {}) do
    roll(b)
    answer[#answer + 1] = {owner, b[B_KIND], b[B_LIMIT], b[B_SPENT], b[B_RESERVED], budget_end(b)}
  end
end
return {'OK', encode({sid or false, answer})}
