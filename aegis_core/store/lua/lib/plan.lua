-- What the plan of a workflow says of a member's request: which of its steps covers it whole. Where none does, a person is
-- asked, whatever the rules say.
local step = 0
if flow and judged and not code then
  local steps, asks, why = flow[FLOW_STEPS], whole_request(trace, said), 'is not in the plan of the workflow '
  for at = 1, #steps - 1, steps[1] do
    local times, most = steps[at + PLAN_TIMES], steps[at + PLAN_UPTO]
    if (not steps[at + PLAN_TOOL] or steps[at + PLAN_TOOL] == asks.tool)
        and (not steps[at + PLAN_RESOURCE] or steps[at + PLAN_RESOURCE] == resource) then
      local left = times and most or most - steps[at + PLAN_USED]
      if times and steps[at + PLAN_USES] >= times then
        why = string.format('was to be done %d times in the plan of the workflow ', times)
      elseif bound > left or flow[FLOW_USED] + bound > flow[FLOW_BUDGET] then
        why = 'costs more than is left in the plan of the workflow '
      else
        step = (at - 1) / steps[1] + 1
        break
      end
    end
  end
  if step > 0 and effect ~= 'escalate' then reason = 'approved with the plan of the workflow ' .. flow[FLOW_NAME] end
  if step == 0 then object('escalate', 'beside_plan', false, nil, 'it ' .. why .. flow[FLOW_NAME]) end
end

