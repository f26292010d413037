-- Ends a workflow for all its members, by its opener (`agent`) or an operator. Again is harmless.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local F = fetch('wf:' .. id)
if not F then return {'NO_WORKFLOW'} end
if agent and F[FLOW_OPENER] ~= agent then return {'NOT_YOURS'} end
local refused = impostor(F[FLOW_OPENER], sid, token)
if refused then return {refused} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local blob = call('GET', PREFIX .. 'r:' .. id)
local R = blob and complete_R(decode(blob))
if R and overdue(R) then expire(id, R) end
if R and R[R_STATE] == STATE_PENDING then
  R[R_ASKED][Q_TAKEN_BACK] = agent and 'agent' or 'person'
  close(id, R, STATE_RELEASED, 0, author)
elseif R and R[R_STATE] == STATE_LIVE then
  flows.over(id, agent and 'opener' or 'operator', author)
  close(id, R, STATE_RELEASED, 0, author)
end
if F[FLOW_STATE] == 'ended' then flows.clear(id, 200) end
flush()
return {'OK', encode(F), NOW}
