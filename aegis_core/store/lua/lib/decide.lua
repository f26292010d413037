-- One person's word on one question: exactly one outcome, the first valid one. The same word again is a harmless repeat.
-- An edit is the changed request, judged again by the policy; its terms are those of every rule that would ask about it.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'r:' .. id)
local R = blob and complete_R(decode(blob))
local Q = R and R[R_ASKED]
if not Q then return {'NO_APPROVAL'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if overdue(R) then
  expire(id, R)
  flush()
end

if edit and R[R_PLAN_STEP] < 0 then return {'IS_A_PLAN'} end
local who, P = person_of(operator)
local votes, before = Q[Q_VOTES], nil
for i = 1, #votes do
  if person_of(votes[i][O_OPERATOR]) == who then before = votes[i] end
end
if before and former(P, before[O_AT]) then before = nil end
local present = Q[Q_EDITED] or Q[Q_CONTENT]
if edit and present == edit[EDIT_CONTENT] then edit = false end -- it says this already
local same = before and before[O_WORD] == word and not edit
if R[R_STATE] ~= STATE_PENDING then return {same and 'OK' or 'DECIDED', encode(R), 1, NOW} end
if same then return {'OK', encode(R), 1, NOW} end
if seen and word == 'approve' and seen ~= present then return {'EDITED'} end -- what was looked at is not asked any more

-- May this person say so at all, as persons stand now?
for i = 1, edit and #edit[EDIT_TERMS] or 0 do
  local terms = edit[EDIT_TERMS][i]
  tighten(Q, terms[TERMS_QUORUM], terms[TERMS_APPROVES], terms[TERMS_OPERATORS],
    terms[TERMS_ROLE], terms[TERMS_GROUPS])
end
local why_not = unfit(Q, operator, who, P)
if why_not then return {why_not, encode(R), who} end
local amount, bound = R[R_AMOUNT], math.max(R[R_AMOUNT], R[R_STRICT])
if edit then amount, bound = edit[EDIT_AMOUNT], edit[EDIT_BOUND] end
if word == 'approve' then
  local ceiling = ceiling_of(who, credential or operator)
  if ceiling and bound > ceiling then return {'ABOVE_CEILING', bound, ceiling} end
  local stopped = halted(R)
  if stopped then return {'STOPPED', stopped} end
  if not edit and outdated(Q, R) then
    if not ruled or ruled_before(ruled, R) then return {'STALE', T[T_POLICY]} end
    local denied, rule, reason = judge_again(R, ruled)
    if denied then return {'POLICY_DENIES', reason or rule or 'its rules deny it'} end
  end
end

-- What the edit changes in the budgets: judged whole before anything is written.
local purses, lines = {}, R[R_LINES]
local function judge_edit()
  if edit[EDIT_POLICY] ~= policy_of(R[R_SESSION]) then return {'STALE', T[T_POLICY]} end
  if edit[EDIT_EFFECT] == 'deny' then return {'EDIT_REFUSED', edit[EDIT_REASON]} end
  local limits = edit[EDIT_LIMITS]
  for at = 0, #limits - 1, LIMIT_WIDTH do
    if bound > limits[at + LIMIT_ABOVE] and limits[at + LIMIT_EFFECT] == 'deny' and not limits[at + LIMIT_OBSERVED] then
      return {'EDIT_REFUSED', limits[at + LIMIT_REASON]}
    end
  end
  for at = 1, #lines - 1, lines[1] do
    local owner = lines[at + M_OWNER]
    local purse, name = purse_of(owner, R[R_AGENT], R[R_SESSION])
    local b = purse and find(purse, lines[at + M_KIND])
    if b then
      roll(b)
      add(b, lines[at + M_WINDOW], 0, -R[R_AMOUNT])
      local room = b[B_LIMIT] and b[B_LIMIT] - b[B_SPENT] - b[B_RESERVED] - amount
      if room and room < 0 then return {'EDIT_SHORT', owner} end
      add(b, b[B_WINDOW], 0, amount)
      lines[at + M_WINDOW], lines[at + M_LIMIT], lines[at + M_ROOM] = b[B_WINDOW], b[B_LIMIT], room
      purses[at] = b
      change(name)
    end
  end
end
local refused = edit and judge_edit()
if refused then return refused end -- nothing was flushed, so nothing was changed

if edit then
  check_keys(id, R)
  for at = 1, #lines - 1, lines[1] do
    if purses[at] then note_crossing(purses[at], lines[at + M_OWNER], R[R_AGENT], R[R_SESSION]) end
  end
  local G = fetch('a:' .. R[R_AGENT])
  G[G_PENDING] = G[G_PENDING] + amount - R[R_AMOUNT]
  change('a:' .. R[R_AGENT])
  count_waiting(R, amount - R[R_AMOUNT])
  flows.count(id, R, amount - R[R_AMOUNT], 0, 0)
  Q[Q_ORIGINAL] = Q[Q_ORIGINAL] or {R[R_AMOUNT], Q[Q_TRACE]}
  local changed = edit[EDIT_SHOWN]
  if changed then
    Q[Q_SHOWN] = math.max(1, Q[Q_SHOWN])
    call('SET', PREFIX .. 'q:' .. id .. ':e', changed, 'PX', string.format('%.0f', R[R_DEADLINE] - NOW + T[T_CONFIG][C_KEEP]))
  else
    call('DEL', PREFIX .. 'q:' .. id .. ':e')
  end
  if amount ~= R[R_AMOUNT] then R[R_STRICT], R[R_SAMPLES] = 0, 0 end -- the new amount is no forecast
  R[R_AMOUNT], Q[Q_TRACE], Q[Q_EDITED], Q[Q_VOTES] = amount, decode(edit[EDIT_TRACE]), edit[EDIT_CONTENT], {}
  Q[Q_JUDGED] = edit[EDIT_POLICY]
  if R[R_LOCK] then R[R_LOCK][K_RESOURCE] = Q[Q_TRACE].target_resource end
  votes, before = Q[Q_VOTES], nil -- what others said was of something else
end

local vote = before or NEW_O
vote[O_OPERATOR], vote[O_WORD], vote[O_AT], vote[O_WHY] = who, word, NOW, why
vote[O_CREDENTIAL] = credential or who ~= operator and operator
if not before then votes[#votes + 1] = vote end
local enough = word == 'approve' and suffice(Q, recount(Q, bound)) -- of whoever may still approve it
R[R_CHANGED] = NOW
local body
if word == 'reject' then
  body = close(id, R, STATE_DECLINED, 0, who, why)
  local span = T[T_CONFIG][C_REFUSAL]
  local X = NEW_X
  X[X_OPERATOR], X[X_WHY], X[X_UNTIL], X[X_AT] = who, why, NOW + span, NOW
  call('SET', PREFIX .. 'x:' .. Q[Q_CONTENT], encode(X), 'PX', span)
elseif enough then
  body = go_live(id, R, who, why, NOW)
else
  check_keys(id, R)
  body = store_open(id, R)
  event('voted', told_of(R, body))
  call('PUBLISH', PREFIX .. 'i', id)
end
flush()
return {'OK', body, 0, NOW}
