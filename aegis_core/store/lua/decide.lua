-- One operator's word on one question: exactly one outcome, the first valid one. The same word again is a harmless repeat.
-- An edit is {policy, effect, reason, limits, amount, bound, trace, content, terms}: the changed request, judged anew by
-- the policy; `terms` are {quorum, approves, operators} of every rule that would ask about it.
local id, operator, word, why, seen, edit = unpack(A, 1, 6)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'r:' .. id)
local R = blob and decode(blob)
local Q = R and R[R_ASKED]
if not Q then return {'NO_APPROVAL'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
if overdue(R) then
  expire(id, R)
  flush()
end

local votes, before = Q[Q_VOTES], nil
for i = 1, #votes do
  if votes[i][1] == operator then before = votes[i] end
end
local present = Q[Q_EDITED] or Q[Q_CONTENT]
if edit and present == edit[8] then edit = false end -- it says this already
local same = before and before[2] == word and not edit
if R[R_STATE] ~= 'P' then return {same and 'OK' or 'DECIDED', encode(R), 1, NOW} end
if same then return {'OK', encode(R), 1, NOW} end
if seen and word == 'approve' and seen ~= present then return {'EDITED'} end -- what was looked at is not asked any more

-- May this operator say so at all?
for i = 1, edit and #edit[9] or 0 do tighten(Q, unpack(edit[9][i], 1, 3)) end
if not names(Q[Q_OPERATORS], operator) then return {'NOT_AN_OPERATOR_OF_IT', encode(R)} end
local amount, bound = R[R_AMOUNT], math.max(R[R_AMOUNT], R[R_STRICT])
if edit then amount, bound = edit[5], edit[6] end
if word == 'approve' then
  local ceiling = call('HGET', PREFIX .. 'ol', operator)
  if ceiling and bound > tonumber(ceiling) then return {'ABOVE_CEILING', bound, ceiling} end
  local stopped = halted(R)
  if stopped then return {'STOPPED', stopped} end
end

-- What the edit changes in the budgets: judged whole before anything is written.
local purses, lines = {}, R[R_LINES]
local function judge_edit()
  if edit[1] ~= T[T_POLICY] then return {'STALE', T[T_POLICY]} end
  if edit[2] == 'deny' then return {'EDIT_REFUSED', edit[3]} end
  for i = 1, #edit[4], 5 do
    if bound > edit[4][i] and edit[4][i + 1] == 'deny' and not edit[4][i + 4] then
      return {'EDIT_REFUSED', edit[4][i + 3]}
    end
  end
  for i = 1, #lines, LINE do
    local purse, name = purse_of(lines[i], R[R_AGENT], R[R_SESSION])
    local b = purse and find(purse, lines[i + 1])
    if b then
      roll(b)
      add(b, lines[i + 2], 0, -R[R_AMOUNT])
      local room = b[B_LIMIT] and b[B_LIMIT] - b[B_SPENT] - b[B_RESERVED] - amount
      if room and room < 0 then return {'EDIT_SHORT', lines[i]} end
      add(b, b[B_WINDOW], 0, amount)
      lines[i + 2], lines[i + 3], lines[i + 4] = b[B_WINDOW], b[B_LIMIT], room
      purses[i] = b
      change(name)
    end
  end
end
local refused = edit and judge_edit()
if refused then return refused end -- nothing was flushed, so nothing was changed

if edit then
  check_keys(id)
  for i = 1, #lines, LINE do
    if purses[i] then note_crossing(purses[i], lines[i], R[R_AGENT], R[R_SESSION]) end
  end
  local G = fetch('a:' .. R[R_AGENT])
  G[G_PENDING] = G[G_PENDING] + amount - R[R_AMOUNT]
  change('a:' .. R[R_AGENT])
  if amount ~= R[R_AMOUNT] then R[R_STRICT], R[R_SAMPLES] = 0, 0 end -- the new amount is no forecast
  R[R_AMOUNT], Q[Q_TRACE], Q[Q_EDITED], Q[Q_VOTES] = amount, decode(edit[7]), edit[8], {}
  if R[R_LOCK] then R[R_LOCK][K_RESOURCE] = Q[Q_TRACE].target_resource end
  votes, before = Q[Q_VOTES], nil -- what others said was of something else
end

local vote = before or {}
vote[1], vote[2], vote[3], vote[4] = operator, word, NOW, why
if not before then votes[#votes + 1] = vote end
local approvals = 0
for i = 1, #votes do
  if votes[i][2] == 'approve' then approvals = approvals + 1 end
end
R[R_CHANGED] = NOW
local body
if word == 'reject' then
  body = close(id, R, 'D', 0, operator, why)
  local span = T[T_CONFIG][C_REFUSAL]
  call('SET', PREFIX .. 'x:' .. Q[Q_CONTENT], encode({operator, why, NOW + span, NOW}), 'PX', span)
elseif approvals >= Q[Q_QUORUM] then
  body = go_live(id, R, operator, why, NOW)
else
  check_keys(id)
  body = store_open(id, R)
  event('voted', body)
  call('PUBLISH', PREFIX .. 'i', id)
end
flush()
return {'OK', body, 0, NOW}
