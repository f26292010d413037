--@ capabilities
-- Asks people about the plan of a workflow. Its record holds no money; it stays open until the workflow ends.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local G = fetch('a:' .. agent)
local refused = impostor(agent, sid, token)
if refused then return {refused} end
local blob = call('GET', PREFIX .. 'r:' .. id)
local R = blob and complete_R(decode(blob))
if R then -- the same call again
  if R[R_DIGEST] ~= digest then return {'REUSED'} end
  return {'OK', encode(fetch('wf:' .. id) or false), NOW}
end
if policy ~= T[T_POLICY] then return {'STALE', T[T_POLICY]} end
if not G then return {'NO_AGENT'} end
sid = sid or G[G_SESSION]
local S = fetch('s:' .. sid)
if not S then return {'NO_SESSION'} end
if S[S_AGENT] ~= agent then return {'NOT_YOURS'} end
if T[T_PROFILES] ~= profiles or profiles ~= G[G_PROFILE] then return {'PROFILE', T[T_PROFILES]} end
refused = refuse_beyond_rate(agent, G, S)
if refused then return refused end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if NOW >= T[T_DUE] then sweep(4) end
S = fetch('s:' .. sid)
if not S then return {'NO_SESSION'} end
if T[T_STATUS] ~= 'active' then return {'HALTED'} end
if G[G_STATUS] ~= 'active' then return {'BLOCKED'} end
if S[S_WORKFLOW] then return {'IN_A_WORKFLOW'} end
local before = call('GET', PREFIX .. 'x:' .. content)
local X = before and complete_X(decode(before))
if X and X[X_UNTIL] > NOW then return {'PLAN_REFUSED', X[X_OPERATOR], X[X_WHY] or ''} end
if G[G_QUESTIONS] >= T[T_CONFIG][C_QUESTIONS] then return {'TOO_MANY_QUESTIONS', T[T_CONFIG][C_QUESTIONS]} end
if T[T_CONFIG][C_OPEN] <= G[G_OPEN] then return {'TOO_MANY_OPEN', T[T_CONFIG][C_OPEN]} end

-- A plan that its opener's budgets could never pay for, in all windows that it may last, is a mistake.
local F, LENGTHS = flow, {h = 3600000, d = 23 * 3600000, w = 167 * 3600000, m = 28 * DAY - 3600000}
local function most_of(b)
  local kind, limit, lasts = roll(b)[B_KIND], b[B_LIMIT], NOW + F[FLOW_SPAN]
  if not limit then return MAX end
  if kind == 't' then return limit - b[B_SPENT] - b[B_RESERVED] end
  if type(kind) == 'number' then return limit * (1 + math.ceil(F[FLOW_SPAN] / kind)) end
  return limit * (1 + math.max(0, math.ceil((lasts - window_end(kind)) / (LENGTHS[kind] or 3600000))))
end
for _, owner in ipairs({'agent', 'session', 'tenant'}) do
  for _, b in ipairs(({agent = G[G_PURSE], session = S[S_PURSE], tenant = T[T_PURSE]})[owner]) do
    local most = most_of(b)
    if F[FLOW_BUDGET] > most then
      return {'PLAN_ABOVE', owner, string.format('%.0f', math.max(0, most)), b[B_KIND] .. '', agent}
    end
  end
end

local Q = NEW_Q
Q[Q_QUORUM], Q[Q_APPROVES], Q[Q_OPERATORS] = 1, false, false
for i = 1, #terms do
  tighten(Q, terms[i][TERMS_QUORUM], false, terms[i][TERMS_OPERATORS], terms[i][TERMS_ROLE], terms[i][TERMS_GROUPS])
end
span = span or T[T_CONFIG][C_APPROVAL]
Q[Q_REMIND] = remind > 0 and math.max(NOW, NOW + span - remind) or 0
Q[Q_VOTES], Q[Q_HOW], Q[Q_BY], Q[Q_AT], Q[Q_WHY] = {}, false, false, 0, false
Q[Q_CLAIMED], Q[Q_CONTENT], Q[Q_EDITED], Q[Q_TRACE] = false, content, false, decode(trace)

-- What members may have is no more than what their opener's session said of itself, if it said anything.
local own = S[S_CAPABILITIES] ~= ',,' and S[S_CAPABILITIES]
F[FLOW_CAPABILITIES] = F[FLOW_CAPABILITIES] and own and common(F[FLOW_CAPABILITIES], own) or F[FLOW_CAPABILITIES] or own
F[FLOW_PRIORITY] = math.min(F[FLOW_PRIORITY], S[S_PRIORITY])
Q[Q_TRACE].workflow.capabilities, Q[Q_TRACE].workflow.priority = F[FLOW_CAPABILITIES], F[FLOW_PRIORITY]
F[FLOW_OPENER], F[FLOW_SESSION], F[FLOW_MADE], F[FLOW_CONTENT] = agent, sid, NOW, content

R = NEW_R
R[R_STATE], R[R_AGENT], R[R_REQUEST], R[R_SESSION], R[R_DIGEST], R[R_POLICY] = STATE_PENDING, agent, request_id, sid, digest, policy
R[R_CREATED], R[R_CHANGED], R[R_DEADLINE], R[R_AMOUNT], R[R_CHARGED] = NOW, NOW, NOW + span, 0, 0
R[R_CODE], R[R_REASON], R[R_RETRY], R[R_RESOURCE], R[R_LINES] = 'escalated', 'a plan is to be approved as a whole', 0, 'compute', NEW_M
R[R_STRICT], R[R_SAMPLES], R[R_TRUSTED], R[R_ASKED] = F[FLOW_BUDGET], 0, true, Q
R[R_CREDENTIAL], R[R_KEY], R[R_WORKFLOW], R[R_PLAN_STEP] = S[S_CREDENTIAL] or '', S[S_CREDENTIAL] or false, id, -1
HELD['wf:' .. id] = F
change('wf:' .. id)
local body = encode(R)
call('SET', PREFIX .. 'r:' .. id, body)
due_at('r:' .. id, R[R_DEADLINE])
call('ZADD', PREFIX .. 'ap', NOW, id)
call('ZADD', PREFIX .. 'wl', NOW, id)
call('ZREMRANGEBYRANK', PREFIX .. 'wl', 0, -MOST_FLOWS - 1)
G[G_OPEN], G[G_QUESTIONS], G[G_SEEN], S[S_SEEN] = G[G_OPEN] + 1, G[G_QUESTIONS] + 1, NOW, NOW
change('a:' .. agent); change('s:' .. sid); change('t')
event('pending', body, nil, R[R_CODE])
flush()
return {'OK', encode(F), NOW}
