--@ plan
-- Who asks for a person, of every rule that may. The strictest terms of those that do hold, so that no rule can be used
-- to get around another.
local asked, span, longest, most, envelope, refusal = false, false, 0, false, false, false
if judged and not code and effect == 'escalate' then
  local asking = {}
  local Q = NEW_Q
  Q[Q_QUORUM], Q[Q_APPROVES], Q[Q_OPERATORS], Q[Q_REMIND] = 1, true, false, 0
  for at = 0, #askers - 1, ASKER_WIDTH do
    local by, counts = askers[at + ASKER_RULE], askers[at + ASKER_COUNTED]
    if counts and fired[by] or not counts and bound > askers[at + ASKER_ABOVE] then
      local its_span, its_most = askers[at + ASKER_SPAN], askers[at + ASKER_MOST]
      asking[#asking + 1] = by
      tighten(Q, askers[at + ASKER_QUORUM], askers[at + ASKER_APPROVES], askers[at + ASKER_OPERATORS],
        askers[at + ASKER_ROLE], askers[at + ASKER_GROUPS])
      if its_span then span = math.min(span or its_span, its_span) end
      longest = math.max(longest, its_span or T[T_CONFIG][C_APPROVAL])
      Q[Q_REMIND] = math.max(Q[Q_REMIND], askers[at + ASKER_REMIND])
      if its_most then most = math.min(most or its_most, its_most) end
    end
  end
  Q[Q_APPROVES] = Q[Q_APPROVES] and #asking > 0
  if Q[Q_APPROVES] then span = longest end -- who would refuse has as long as the most patient of them gives
  Q[Q_VOTES], Q[Q_HOW], Q[Q_BY], Q[Q_AT], Q[Q_WHY] = {}, false, false, 0, false
  Q[Q_CLAIMED], Q[Q_CONTENT], Q[Q_EDITED], Q[Q_TRACE] = false, content, false, whole_request(trace, said_asked or said)
  asked, span, most = Q, span or T[T_CONFIG][C_APPROVAL], most or T[T_CONFIG][C_QUESTIONS]

  -- What a person approved in advance, when it covers this request whole: by an operator who could have approved it alone,
  -- and not what a person refused since. One for a rule covers no other rule.
  local before = call('GET', PREFIX .. 'x:' .. content)
  refusal = before and complete_X(decode(before))
  if refusal and refusal[X_UNTIL] <= NOW then refusal = false end
  if step > 0 and not (refusal and refusal[X_AT] >= flow[FLOW_APPROVED]) then -- by as many, and of those, as the rules want
    Q[Q_VOTES] = flow[FLOW_VOTES]
    local enough = suffice(Q, recount(Q, bound))
    Q[Q_VOTES] = {}
    if enough then
      asked, effect = false, 'allow'
      if would == 'escalate' then would = 'allow' end
      reason = 'approved with the plan of the workflow ' .. flow[FLOW_NAME]
    end
  end
  local envelopes, request = asked and Q[Q_QUORUM] == 1 and fetch('v') or {}, Q[Q_TRACE]
  for i = 1, #envelopes do
    local V = envelopes[i]
    local alone = #asking > 0
    for _, name in ipairs(asking) do alone = alone and name == V[V_RULE] end
    if (not V[V_AGENT] or V[V_AGENT] == agent) and (not V[V_SESSION] or V[V_SESSION] == sid)
        and (not V[V_TOOL] or V[V_TOOL] == request.tool) and (not V[V_RULE] or alone)
        and (not V[V_RESOURCE] or V[V_RESOURCE] == resource)
        and (not V[V_PHRASE] or string.find(words, V[V_PHRASE], 1, true))
        and not (refusal and refusal[X_AT] >= V[V_MADE])
        and NOW < V[V_EXPIRES] and V[V_USED] + bound <= V[V_LIMIT] and alone_may(Q, V[V_AUTHOR], bound, V[V_MADE]) then
      envelope, asked, effect = V, false, 'allow'
      if would == 'escalate' then would = 'allow' end
      reason = 'approved in advance by ' .. V[V_AUTHOR]
      break
    end
  end
end

-- A refusal by a person answers the same request for a while. An agent can't drown its operators in questions. What waits,
-- for a person or a lock, of it or of all agents of its credential, never holds more than a share of what others need.
if asked then
  if refusal then
    code, transient, retry, effect, bar = 'refused_before', true, refusal[X_UNTIL], 'deny', false
    reason = 'the same request was refused by ' .. refusal[X_OPERATOR] .. (refusal[X_WHY] and ': ' .. refusal[X_WHY] or '')
  end
end
if asked and not code and too_long then -- nobody could see what is approved
  code, effect, reason = 'too_long_to_approve', 'deny', false
  stands_at('bytes', MOST_SHOWN, MOST_SHOWN, false)
end
local crowded, asked_for = false, bar
for round = 1, (asked or lock) and not code and 2 or 0 do
  crowded = asked and G[G_QUESTIONS] >= most and 'too_many_questions'
  bar = asked_for
  if crowded then stands_at('questions', most, 0, 1) end
  local whole = waiting_in(T[T_WAITING] and T[T_WAITING][S[S_CREDENTIAL] or ''])
  local pending = math.max(G[G_PENDING], waiting_in(G[G_WAITING]), whole) + amount
  for at = 1, crowded and 0 or #lines - 1, M_WIDTH do
    local owner, limit = lines[at + M_OWNER], lines[at + M_LIMIT]
    local most_pending = owner ~= 'a' and owner ~= 's' and string.sub(owner, 1, 2) ~= 'o:' and limit and limit * T[T_CONFIG][C_SHARE]
    if most_pending and pending > most_pending then
      crowded = 'too_much_pending'
      stands_at('usd', math.floor(most_pending), math.max(0, math.floor(most_pending) - pending + amount), amount)
      bar[BAR_OWNER], bar[BAR_WINDOW] = owner, lines[at + M_KIND]
    end
  end
  if not crowded or not behind or (round == 2 and not asked) then break end
  if round == 2 then return {'SWEEP'} end
  -- Perhaps only the overdue hold it. Then there is more left in the budgets, too; and if that reaches for another model, all
  -- is to be judged for that one.
  behind = sweep(200)
  G, S = fetch('a:' .. agent), fetch('s:' .. sid)
  if not S then return {'NO_SESSION'} end
  local best, least = choose()
  if best[CANDIDATE_MODEL] ~= model or least ~= amount then return {'SWEEP'} end
end
if crowded and asked then code, transient, retry, effect = crowded, true, NOW + T[T_CONFIG][C_TRANSIENT], 'deny' end
