-- Workflows: sessions of several agents under one plan that people approved. wf:ID holds the plan and how much of it is used;
-- r:ID is the question about it, which lives as long as the workflow, so that whatever ends a record ends that.
local flows = {} -- what is done with them; the ends stand in `flow_ends`, behind what they need

flows.keep = function(id, F)
  if F[FLOW_STATE] ~= 'ended' then return change('wf:' .. id) end
  CHANGED['wf:' .. id] = nil -- which would lose its expiry
  call('SET', PREFIX .. 'wf:' .. id, encode(F), 'PX', string.format('%.0f', KEPT))
end

-- Counts what a member holds or spent: so much more money, uses of its step, and open records.
flows.count = function(id, R, more, uses, open)
  local F = R[R_WORKFLOW] and R[R_PLAN_STEP] >= 0 and fetch('wf:' .. R[R_WORKFLOW])
  if not F then return end
  local steps = F[FLOW_STEPS]
  local at = R[R_PLAN_STEP] > 0 and 1 + (R[R_PLAN_STEP] - 1) * steps[1]
  if at then
    steps[at + PLAN_USED], steps[at + PLAN_USES] = steps[at + PLAN_USED] + more, steps[at + PLAN_USES] + uses
    F[FLOW_USED] = F[FLOW_USED] + more
  elseif R[R_STATE] == STATE_PENDING then
    F[FLOW_WAITING] = F[FLOW_WAITING] + more
  else
    F[FLOW_BESIDE] = F[FLOW_BESIDE] + more
  end
  F[FLOW_OPEN] = F[FLOW_OPEN] + open
  if open > 0 then call('ZADD', PREFIX .. 'wo:' .. R[R_WORKFLOW], 0, id)
  elseif open < 0 then call('ZREM', PREFIX .. 'wo:' .. R[R_WORKFLOW], id) end
  flows.keep(R[R_WORKFLOW], F)
end

-- Whether every step of a plan is used up, and nothing of it is open that might still give some back.
flows.used_up = function(F)
  if F[FLOW_STATE] ~= 'live' or F[FLOW_OPEN] > 0 then return false end
  local steps = F[FLOW_STEPS]
  for at = 1, #steps - 1, steps[1] do
    local times = steps[at + PLAN_TIMES]
    if times and steps[at + PLAN_USES] < times or not times and steps[at + PLAN_USED] < steps[at + PLAN_UPTO] then return false end
  end
  return true
end

-- In force at the next request of every member; what they have open is cleared away by `flows.clear`, some at a time.
flows.over = function(id, how, by)
  local F = fetch('wf:' .. id)
  if not F or F[FLOW_STATE] == 'ended' then return end
  local began = F[FLOW_STATE] == 'live'
  F[FLOW_STATE], F[FLOW_HOW], F[FLOW_BY], F[FLOW_ENDED], F[FLOW_JOINS] = 'ended', how, by or false, NOW, {}
  flows.keep(id, F)
  for _, head in ipairs({'wm:', 'wo:'}) do call('PEXPIRE', PREFIX .. head .. id, string.format('%.0f', KEPT)) end
  if not began then return end
  if F[FLOW_OPEN] > 0 or F[FLOW_JOINED] > 0 then
    due_at('w:' .. id, NOW)
    change('t')
  end
  local uses, steps = 0, F[FLOW_STEPS]
  for at = 1, #steps - 1, steps[1] do uses = uses + steps[at + PLAN_USES] end
  event('workflow_ended', encode({NOW, id, F[FLOW_NAME], F[FLOW_OPENER], how, F[FLOW_BUDGET], F[FLOW_USED], F[FLOW_BESIDE], uses,
    F[FLOW_ASKED], F[FLOW_OPEN], F[FLOW_JOINED], by or false}))
end

-- People approved the plan: from now on it is in force, for as long as they were told.
flows.begin = function(id, R)
  local F = fetch('wf:' .. id)
  F[FLOW_STATE], F[FLOW_APPROVED], F[FLOW_EXPIRES], F[FLOW_VOTES] = 'live', NOW, NOW + F[FLOW_SPAN], R[R_ASKED][Q_VOTES]
  R[R_DEADLINE] = F[FLOW_EXPIRES]
  change('wf:' .. id)
end
