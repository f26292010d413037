-- Puts a join token into a workflow: for so many sessions, until a time, of agents whose names fit.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local F = fetch('wf:' .. id)
if not F then return {'NO_WORKFLOW'} end
if agent and F[FLOW_OPENER] ~= agent then return {'NOT_YOURS'} end
local refused = impostor(F[FLOW_OPENER], sid, token)
if refused then return {refused} end
local ended = F[FLOW_STATE] == 'ended' or F[FLOW_STATE] == 'live' and NOW >= F[FLOW_EXPIRES]
if ended then return {'WORKFLOW_OVER', F[FLOW_HOW] or 'time'} end
local kept, spent = {}, {}
for i = 1, #F[FLOW_JOINS] do
  local J = F[FLOW_JOINS][i]
  if J[JOIN_HASH] == join[JOIN_HASH] then return {'OK', J[JOIN_EXPIRES]} end -- the same call again
  if J[JOIN_EXPIRES] > NOW then
    if J[JOIN_USES] > 0 then kept[#kept + 1] = J else spent[#spent + 1] = J end
  end
end
if #kept >= MOST_JOINS then return {'TOO_MANY_JOINS', MOST_JOINS} end
join[JOIN_EXPIRES] = NOW + join[JOIN_EXPIRES]
if F[FLOW_STATE] == 'live' then join[JOIN_EXPIRES] = math.min(join[JOIN_EXPIRES], F[FLOW_EXPIRES]) end
kept[#kept + 1] = join
for i = 1, math.min(#spent, MOST_JOINS - #kept) do kept[#kept + 1] = spent[i] end -- to say of them that they were used
F[FLOW_JOINS] = kept
change('wf:' .. id)
flush()
event('workflow_invited', encode({NOW, id, F[FLOW_NAME], F[FLOW_OPENER], join[JOIN_USES], join[JOIN_EXPIRES], join[JOIN_AGENTS], author}))
return {'OK', join[JOIN_EXPIRES]}
