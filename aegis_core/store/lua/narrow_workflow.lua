-- Makes a plan smaller, before or after it was approved. What is used stays used, and nothing becomes larger by it.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local F = fetch('wf:' .. id)
local blob = F and call('GET', PREFIX .. 'r:' .. id)
if not blob then return {'NO_WORKFLOW'} end
local R = complete_R(decode(blob))
if overdue(R) then
  expire(id, R)
  flush()
end
if F[FLOW_STATE] == 'ended' then return {'WORKFLOW_OVER', F[FLOW_HOW]} end
if F[FLOW_CONTENT] ~= seen then
  if F[FLOW_CONTENT] == content then return {'OK', encode(F), NOW} end -- the same call again
  return {'EDITED'}
end
local who, P = person_of(author)
local Q = R[R_ASKED]
local why_not = unfit(Q, author, who, P)
if why_not then return {why_not, encode(R), who} end
local rows = F[FLOW_STEPS]
local wider = budget > F[FLOW_BUDGET] or lasts > F[FLOW_SPAN] or #steps ~= 2 * (#rows - 1) / rows[1]
for n = 1, wider and 0 or #steps / 2 do
  local at, times, upto = 1 + (n - 1) * rows[1], steps[2 * n - 1], steps[2 * n]
  local most = rows[at + PLAN_TIMES]
  wider = wider or upto > rows[at + PLAN_UPTO] or most and (not times or times > most) or not most and times
end
if wider then return {'WIDER'} end
for n = 1, #steps / 2 do
  local at = 1 + (n - 1) * rows[1]
  rows[at + PLAN_TIMES], rows[at + PLAN_UPTO] = steps[2 * n - 1], steps[2 * n]
end
check_keys(id, R)
F[FLOW_BUDGET], F[FLOW_SPAN], F[FLOW_CONTENT], R[R_STRICT], R[R_CHANGED] = budget, lasts, content, budget, NOW
Q[Q_TRACE], Q[Q_EDITED] = decode(trace), content
if F[FLOW_STATE] == 'live' then
  F[FLOW_EXPIRES] = F[FLOW_APPROVED] + lasts
  R[R_DEADLINE] = F[FLOW_EXPIRES]
  due_at('r:' .. id, R[R_DEADLINE])
  change('t')
else
  Q[Q_VOTES] = {} -- what others said was of something else
end
change('wf:' .. id)
store_open(id, R)
flush()
event('workflow_narrowed', encode({NOW, id, F[FLOW_NAME], F[FLOW_OPENER], budget, lasts, who}))
call('PUBLISH', PREFIX .. 'i', id)
return {'OK', encode(F), NOW}
