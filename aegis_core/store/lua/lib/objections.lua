-- Objections. The strictest decides; one that is only observed counts in `would`, what would have been decided.
local SEVERITY = {allow = 0, observe = 0, escalate = 1, deny = 2}
local retry, transient, short = false, false, false
local watched = T[T_MODE] == 'observe'
local fired, hit = {}, matched and {matched} or {}
local bar = false -- what stood in the way, where it is a number
local function stands_at(unit, limit, left, wanted)
  bar = NEW_BAR
  bar[BAR_UNIT], bar[BAR_LIMIT], bar[BAR_LEFT], bar[BAR_ASKED] = unit, limit, left, wanted
end
-- Answers whether this one decides for now.
local function object(severity, why, observed, by, because)
  if by then hit[#hit + 1] = by end
  if SEVERITY[severity] > SEVERITY[would] then
    would = severity
    if watched or observed then rule, reason = by or rule or why, because or reason end
  end
  if watched or observed then return end
  if by then fired[by] = true end
  if SEVERITY[severity] <= SEVERITY[effect] then return end
  effect, rule, reason, bar = severity, by, because, false
  if severity == 'deny' then code = why end
  return true
end

-- What a tenant can't watch instead of enforcing: who may act at all, and what cannot be carried out.
if fence and not code then -- of the lock named like the target: one who lost it is refused in the same step
  local lock, held = call('GET', PREFIX .. 'l:' .. target), false
  for _, H in ipairs(lock and complete_L(decode(lock))[L_HOLDERS] or {}) do
    held = held or H[H_FENCE] == fence and H[H_AGENT] == agent and H[H_EXPIRES] > NOW
  end
  if not held then code = 'stale_fence' end
end
if not S[S_LOCAL] and beyond_rate(agent, G, S[S_CREDENTIAL] or '') then
  code, transient, retry = 'too_many_requests', true, next_second()
  stands_at('requests', T[T_CONFIG][C_REQUESTS], 0, 1)
end
if code then effect = 'deny'
elseif T[T_STATUS] ~= 'active' then code = 'tenant_halted'
elseif G[G_STATUS] ~= 'active' then code = 'agent_blocked'
elseif flow and (flow[FLOW_STATE] ~= 'live' or NOW >= flow[FLOW_EXPIRES]) then code = 'workflow_ended'
elseif opener and opener[G_STATUS] ~= 'active' then code = 'opener_blocked' end
local judged = not code
if judged then
  local asked = effect
  if SEVERITY[would] < SEVERITY[asked] then would = asked end
  effect = watched and 'allow' or asked
  if effect == 'deny' then code = 'policy' end
  local held = capability and ',' .. capability .. ','
  if held and not (string.find(S[S_CAPABILITIES], held, 1, true)
      and (not G[G_CAPABILITIES] or string.find(G[G_CAPABILITIES], held, 1, true))
      and (not opener or not opener[G_CAPABILITIES] or string.find(opener[G_CAPABILITIES], held, 1, true))) then
    object('deny', 'missing_capability')
  end
  local most = math.min(S[S_PRIORITY], G[G_PRIORITY], opener and opener[G_PRIORITY] or 10)
  if priority > most and object('deny', 'priority_above_maximum') then stands_at('priority', most, most, priority) end
end
