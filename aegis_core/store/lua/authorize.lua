-- Judges one request whole, then writes the whole outcome: reservation, idempotency record and event in one.
local id, digest, policy, agent, sid, token, born, request_id, priority, capability, resource, candidates, effect, rule,
  reason, code, limits, trace, forecast, would, counters, fingerprint, latest, profiles, askers, content,
  words, fence, target, chosen_for, lock = unpack(A, 1, 31)
if #candidates < 3 or #candidates > 4 then return redis.error_reply('ERR candidates must be a triple without nil') end

local record_key, agent_key, session_key = PREFIX .. 'r:' .. id, PREFIX .. 'a:' .. agent, PREFIX .. 's:' .. (sid or '')
local blobs = call('MGET', record_key, KEYS[1], agent_key, session_key)
T = hold('t', blobs[2])
if not T then return {'NO_TENANT'} end
local G, S = hold('a:' .. agent, blobs[3]), sid and hold('s:' .. sid, blobs[4])

local refused = impostor(agent, sid, token)
if refused then return {refused} end
if blobs[1] then
  local R = decode(blobs[1])
  if R[R_AGENT] ~= agent or R[R_DIGEST] ~= digest then return {'REUSED'} end
  if overdue(R) then
    if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
    local _, expire = endings()
    expire(id, R)
    flush()
  end
  if (R[R_ASKED] or R[R_LOCK]) and R[R_STATE] == 'G' then
    if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
    local _, _, claim, _, _, _, with_standing = endings()
    claim(id, R, lock and lock[2])
    flush()
    return {'OLD', with_standing(id, R)}
  end
  return {'OLD', encode(R)}
end
if born > 0 and NOW - born > T[T_CONFIG][C_KEEP] then return {'TOO_OLD', NOW - born} end
if T[T_POLICY] ~= policy then return {'STALE', T[T_POLICY]} end
if not G then return {'NO_AGENT'} end
if latest and G[G_SESSION] ~= sid then return {'SESSION', G[G_SESSION]} end -- the caller meant the agent's open one
if not S then return {'NO_SESSION'} end
if S[S_AGENT] ~= agent then return {'NOT_YOURS'} end
if profiles ~= T[T_PROFILES] or G[G_PROFILE] ~= profiles then return {'PROFILE', T[T_PROFILES]} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
local behind = NOW >= T[T_DUE] and endings()(4)
S = fetch('s:' .. sid)
if not S then return {'NO_SESSION'} end

-- Objections. The strictest decides; one that is only observed counts in `would`, what would have been decided.
local SEVERITY = {allow = 0, observe = 0, escalate = 1, deny = 2}
local retry, transient, short = false, false, false
local watched = T[T_MODE] == 'observe'
local fired = {}
local function object(severity, why, observed, by, because)
  if SEVERITY[severity] > SEVERITY[would] then
    would = severity
    if watched or observed then rule, reason = by or rule or why, because or reason end
  end
  if watched or observed then return end
  if by then fired[by] = true end
  if SEVERITY[severity] <= SEVERITY[effect] then return end
  effect, rule, reason = severity, by, because
  if severity == 'deny' then code = why end
end

-- What a tenant can't watch instead of enforcing: who may act at all, and what cannot be carried out.
if fence and not code then -- of the lock named like the target: one who lost it is refused in the same step
  local lock, held = call('GET', PREFIX .. 'l:' .. target), false
  for _, H in ipairs(lock and decode(lock)[L_HOLDERS] or {}) do
    held = held or H[H_FENCE] == fence and H[H_AGENT] == agent and H[H_EXPIRES] > NOW
  end
  if not held then code = 'stale_fence' end
end
if code then effect = 'deny'
elseif T[T_STATUS] ~= 'active' then code = 'tenant_halted'
elseif G[G_STATUS] ~= 'active' then code = 'agent_blocked' end
local judged = not code
if judged then
  local asked = effect
  if SEVERITY[would] < SEVERITY[asked] then would = asked end
  effect = watched and 'allow' or asked
  if effect == 'deny' then code = 'policy' end
  local held = capability and ',' .. capability .. ','
  if held and not (string.find(S[S_CAPABILITIES], held, 1, true)
      and (not G[G_CAPABILITIES] or string.find(G[G_CAPABILITIES], held, 1, true))) then
    object('deny', 'missing_capability')
  end
  if priority > math.min(S[S_PRIORITY], G[G_PRIORITY]) then object('deny', 'priority_above_maximum') end
end

-- Every budget that applies, for the amount asked: none is written here.
local lines, purses = {}, {}
local function judge(owner, purse, amount)
  for i = 1, #purse do
    local b = roll(purse[i])
    local limit = b[B_LIMIT]
    local room = limit and limit - b[B_SPENT] - b[B_RESERVED] - amount
    local n = #lines
    lines[n + 1], lines[n + 2], lines[n + 3], lines[n + 4], lines[n + 5] = owner, b[B_KIND], b[B_WINDOW], limit, room
    purses[#purses + 1] = b
    if room and room < 0 and not short then short = n end
  end
end
local function judge_shared(owner, amount)
  local purse = fetch(shared_name(owner))
  if purse then judge(owner, purse, amount) end
end
local function judge_all(model, amount)
  lines, purses, short = {}, {}, false
  judge('a', G[G_PURSE], amount)
  judge('s', S[S_PURSE], amount)
  judge('t', T[T_PURSE], amount)
  local shared = T[T_SHARED]
  if shared[1] > 0 then
    for _, label in ipairs(G[G_LABELS]) do judge_shared('l:' .. label, amount) end
  end
  if shared[2] > 0 then judge_shared('k:' .. resource, amount) end
  if shared[3] > 0 and model then judge_shared('m:' .. model, amount) end
end

-- What to reserve for a bound: all of it, or with a forecast (the least to reserve) the largest share of the bound that
-- any of the agent's recent calls of this model settled at.
local function amount_of(model, bound)
  if not forecast then return bound, 0 end
  local shares = call('GET', PREFIX .. 'f:' .. agent .. '\t' .. (model or ''))
  if not shares or #shares < FORECAST_FROM then return bound, 0 end
  local top = 0
  for i = 1, #shares do top = math.max(top, string.byte(shares, i)) end
  return math.min(bound, math.max(forecast, math.ceil(bound / 255 * top))), #shares
end

-- The first candidate {recommended model, model charged, bound} that the money allows, with its amount and samples. The
-- others come packed, as the fourth element, because they are seldom needed.
local function choose()
  local first_amount, first_samples = amount_of(candidates[2], candidates[3])
  judge_all(candidates[2], first_amount)
  if not short or not candidates[4] then return candidates, first_amount, first_samples end
  local others = decode(candidates[4])
  for i = 1, #others, 3 do
    local amount, samples = amount_of(others[i + 1], others[i + 2])
    judge_all(others[i + 1], amount)
    if not short then return {others[i], others[i + 1], others[i + 2]}, amount, samples end
  end
  judge_all(candidates[2], first_amount) -- the refusal speaks of the first
  return candidates, first_amount, first_samples
end
local chosen, full, amount, samples, measured = candidates, false, candidates[3], 0, not code
if code then
  judge_all(candidates[2], 0)
else
  -- Nobody is refused for money or room that only the overdue still hold.
  for round = 1, 2 do
    chosen, amount, samples = choose()
    full = G[G_OPEN] >= T[T_CONFIG][C_OPEN]
    if not (short or full) or not behind then break end
    if round == 2 then return {'SWEEP'} end
    behind = endings()(200)
    G, S = fetch('a:' .. agent), fetch('s:' .. sid)
    if not S then return {'NO_SESSION'} end
  end
  if full then
    code, transient, effect = 'too_many_open_grants', true, 'deny'
  elseif short then
    object('deny', 'budget_exceeded')
    if code then transient, retry = true, window_end(lines[short + 2]) end
  end
end
local recommended, model, bound = chosen[1], chosen[2], chosen[3]

-- Thresholds on what it may cost at most: {above, effect, rule, reason, observed, ...}.
for i = 1, judged and #limits or 0, 5 do
  if bound > limits[i] then object(limits[i + 1], 'policy', limits[i + 4], limits[i + 2], limits[i + 3]) end
end

-- Counters of the policy: {kind, rule, limit, window, effect, reason, observed, ...}, kept with the agent. A repeat counts
-- every attempt, a rate those that reach it, a spend rate what was granted.
local counted = judged and #counters > 0
local function count_all()
  local kept, cell = G[G_COUNTERS], nil
  if fingerprint then -- 8 characters and the second in hexadecimal, the last 64 of them
    G[G_RING] = string.sub(G[G_RING] .. fingerprint .. string.format('%08x', math.floor(NOW / 1000)), -1024)
  end
  for i = 1, #counters, 7 do
    local kind, name, limit, span = counters[i], counters[i + 1], counters[i + 2], counters[i + 3]
    local over
    if kind == 'repeat' then
      local from, seen = 1, 0
      while true do
        local at = string.find(G[G_RING], fingerprint, from, true)
        if not at then break end
        local second = at % 16 == 1 and tonumber(string.sub(G[G_RING], at + 8, at + 15), 16)
        if second and second * 1000 > NOW - span then seen = seen + 1 end
        from = at + 1
      end
      over = seen > limit
    elseif kind == 'rate' then
      cell = math.floor(NOW / span)
      local c = kept[name] or {cell, 0, 0}
      if c[1] < cell then c = {cell, 0, c[1] == cell - 1 and c[2] or 0} end
      over = c[2] + c[3] * (1 - (NOW % span) / span) >= limit
      if not over and not code then c[2] = c[2] + 1 end
      kept[name] = c
    else
      local b = kept[name] or new_budget(span, MAX)
      roll(b)
      over = b[B_SPENT] + bound > limit
      kept[name] = b
    end
    if over then
      object(counters[i + 4], kind == 'spend' and 'policy' or kind .. '_limit', counters[i + 6], name, counters[i + 5])
      if code and kind ~= 'spend' then transient, retry = true, NOW + span end
    end
  end
  change('a:' .. agent)
end
if counted then count_all() end

-- Who asks for a person, {rule, above, counted, quorum, span, approves, operators, remind, most, ...} of every rule that
-- may. The strictest terms of those that do hold, so that no rule can be used to get around another.
local asked, span, most, envelope, refusal = false, false, false, false, false
if judged and not code and effect == 'escalate' then
  local _, _, _, tighten, names = endings()
  local asking = {}
  local Q = {}
  Q[Q_QUORUM], Q[Q_APPROVES], Q[Q_OPERATORS], Q[Q_REMIND] = 1, true, false, 0
  for i = 1, #askers, 9 do
    if askers[i + 2] and fired[askers[i]] or not askers[i + 2] and bound > askers[i + 1] then
      asking[#asking + 1] = askers[i]
      tighten(Q, askers[i + 3], askers[i + 5], askers[i + 6])
      if askers[i + 4] then span = math.min(span or askers[i + 4], askers[i + 4]) end
      Q[Q_REMIND] = math.max(Q[Q_REMIND], askers[i + 7])
      if askers[i + 8] then most = math.min(most or askers[i + 8], askers[i + 8]) end
    end
  end
  Q[Q_APPROVES] = Q[Q_APPROVES] and #asking > 0
  Q[Q_VOTES], Q[Q_HOW], Q[Q_BY], Q[Q_AT], Q[Q_WHY] = {}, false, false, 0, false
  Q[Q_CLAIMED], Q[Q_CONTENT], Q[Q_EDITED], Q[Q_TRACE] = false, content, false, decode(trace)
  asked, span, most = Q, span or T[T_CONFIG][C_APPROVAL], most or T[T_CONFIG][C_QUESTIONS]

  -- What a person approved in advance, when it covers this request whole: by an operator who could have approved it alone,
  -- and not what a person refused since. One for a rule covers no other rule.
  local before = call('GET', PREFIX .. 'x:' .. content)
  refusal = before and decode(before)
  if refusal and refusal[3] <= NOW then refusal = false end
  local envelopes, said = Q[Q_QUORUM] == 1 and fetch('v') or {}, Q[Q_TRACE]
  for i = 1, #envelopes do
    local V = envelopes[i]
    local alone = #asking > 0
    for _, name in ipairs(asking) do alone = alone and name == V[V_RULE] end
    if (not V[V_AGENT] or V[V_AGENT] == agent) and (not V[V_SESSION] or V[V_SESSION] == sid)
        and (not V[V_TOOL] or V[V_TOOL] == said.tool) and (not V[V_RULE] or alone)
        and (not V[V_RESOURCE] or V[V_RESOURCE] == resource)
        and (not V[V_PHRASE] or string.find(words, V[V_PHRASE], 1, true))
        and names(Q[Q_OPERATORS], V[V_AUTHOR]) and not (refusal and refusal[4] >= V[V_MADE])
        and NOW < V[V_EXPIRES] and V[V_USED] + bound <= V[V_LIMIT] then
      envelope, asked, effect = V, false, 'allow'
      if would == 'escalate' then would = 'allow' end
      reason = 'approved in advance by ' .. V[V_AUTHOR]
      break
    end
  end
end

-- A refusal by a person answers the same request for a while. An agent can't drown its operators in questions, and its
-- unanswered ones never hold more than half of what it shares with others.
if asked then
  if refusal then
    code, transient, retry, effect = 'refused_before', true, refusal[3], 'deny'
    reason = 'the same request was refused by ' .. refusal[1] .. (refusal[2] and ': ' .. refusal[2] or '')
  end
end
local crowded = false
for round = 1, asked and not code and 2 or 0 do
  crowded = G[G_QUESTIONS] >= most and 'too_many_questions'
  for i = 1, crowded and 0 or #lines, LINE do
    local owner, limit = lines[i], lines[i + 3]
    if owner ~= 'a' and owner ~= 's' and limit and (G[G_PENDING] + amount) * 2 > limit then crowded = 'too_much_pending' end
  end
  if not crowded or not behind then break end
  if round == 2 then return {'SWEEP'} end
  behind = endings()(200) -- perhaps only the overdue hold it
  S = fetch('s:' .. sid)
  if not S then return {'NO_SESSION'} end
end
if crowded then code, transient, retry, effect = crowded, true, NOW + T[T_CONFIG][C_TRANSIENT], 'deny' end

-- The lock of its target, in the same step as the money: held, or a place in its queue. A question takes none yet.
local lease, stands = lock and {target, math.min(lock[1], T[T_CONFIG][C_GRANT]), priority, false, lock[3], false, false}, nil
if lease and not code and not asked then
  local _, _, _, _, _, attend = endings()
  local trouble
  trouble, stands = attend(id, agent, sid, lease, lock[2])
  if trouble then code, transient, effect = trouble, true, 'deny' end
end

if code and measured then -- nothing is taken, so what is left is what was left before
  for i = LINE, #lines, LINE do
    if lines[i] then lines[i] = lines[i] + amount end
  end
end

-- From here on there are only writes, and those that a damaged key could stop come first.
local config = T[T_CONFIG]
local state = code and 'R' or effect == 'escalate' and 'P' or 'G'
local outcome = ({allow = 'G', escalate = 'P', deny = 'R'})[would]
local deadline = state == 'G' and NOW + config[C_GRANT] or state == 'P' and NOW + span or 0
local R = {}
R[R_STATE], R[R_AGENT], R[R_REQUEST], R[R_SESSION], R[R_DIGEST], R[R_POLICY] = state, agent, request_id, sid, digest, policy
R[R_CREATED], R[R_CHANGED], R[R_DEADLINE], R[R_AMOUNT], R[R_CHARGED] = NOW, NOW, deadline, amount, 0
R[R_CODE] = code or state == 'P' and 'escalated' or 'ok'
R[R_RULE], R[R_REASON], R[R_RETRY] = rule or false, reason or false, retry
R[R_MODEL], R[R_RECOMMENDED], R[R_RESOURCE], R[R_LINES] = model, recommended, resource, lines
R[R_SHORT], R[R_SETTLED], R[R_STRICT], R[R_SAMPLES] = short, false, forecast and bound or 0, samples
R[R_TRUSTED] = G[G_TRUST] == 'trusted' or S[S_LOCAL] and G[G_TRUST] ~= 'estimate'
R[R_WOULD] = outcome ~= state and state ~= 'R' and outcome
R[R_ASKED], R[R_ENVELOPE] = state == 'P' and asked, envelope and state == 'G' and envelope[V_ID] or false
R[R_WHY], R[R_LOCK] = false, state ~= 'R' and lease or false
if chosen_for and recommended then -- what was said of the request and of the model chosen for it; of the others, nothing
  local at = string.find(chosen_for, '\n' .. recommended .. '\t', 1, true)
  if at then R[R_WHY] = string.match(chosen_for, '^[^\n]*') .. string.match(chosen_for, '^\n[^\n]*', at) end
end
if state == 'P' and asked[Q_REMIND] > 0 then asked[Q_REMIND] = math.max(NOW, deadline - asked[Q_REMIND]) end
local body = encode(R)
local held = not lease or lease[K_CLAIMED]
local kind = state == 'R' and 'rejected' or state == 'G' and held and 'granted' or 'pending'
if state == 'R' then
  event(kind, body, trace)
  call('SET', record_key, body, 'PX', transient and math.min(config[C_TRANSIENT], config[C_KEEP]) or config[C_KEEP])
  flush()
else
  due_at('r:' .. id, deadline)
  for i = 1, #purses do
    local b, owner = purses[i], lines[(i - 1) * LINE + 1]
    add(b, b[B_WINDOW], 0, amount)
    note_crossing(b, owner, agent, sid)
    if #owner > 1 then change(shared_name(owner)) end
  end
  for i = 1, counted and #counters or 0, 7 do
    if counters[i] == 'spend' then
      local b = G[G_COUNTERS][counters[i + 1]]
      add(b, b[B_WINDOW], bound, 0)
    end
  end
  if state == 'P' then
    G[G_PENDING], G[G_QUESTIONS] = G[G_PENDING] + amount, G[G_QUESTIONS] + 1
    call('ZADD', PREFIX .. 'ap', NOW, id)
  elseif R[R_ENVELOPE] then
    envelope[V_USED], envelope[V_USES] = envelope[V_USED] + amount, envelope[V_USES] + 1
    change('v')
  end
  G[G_OPEN], G[G_SEEN], S[S_SEEN] = G[G_OPEN] + 1, NOW, NOW
  event(kind, body, state == 'G' and trace) -- a question holds its trace
  if next(CHANGED) then flush() end -- what a sweep or a shared budget left
  call('MSET', record_key, body, KEYS[1], encode(T), agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))
end
if stands and state == 'G' then
  lease[K_STANDS] = stands
  body = encode(R)
end
return {'NEW', body}
