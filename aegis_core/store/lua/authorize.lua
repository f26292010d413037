-- Judges one request whole, then writes the whole outcome: reservation, idempotency record and event in one.
local id, digest, policy, agent, sid, token, born, request_id, priority, capability, resource, candidates, effect, rule,
  reason, code, limits, trace, forecast = unpack(A, 1, 19)
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
  return {'OLD', encode(R)}
end
if born > 0 and NOW - born > T[T_CONFIG][C_KEEP] then return {'TOO_OLD', NOW - born} end
if T[T_POLICY] ~= policy then return {'STALE', T[T_POLICY]} end
if not G then return {'NO_AGENT'} end
if not sid then
  sid = G[G_SESSION]
  S = fetch('s:' .. sid)
end
if not S then return {'NO_SESSION'} end
if S[S_AGENT] ~= agent then return {'NOT_YOURS'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
local behind = NOW >= T[T_DUE] and endings()(4)
S = fetch('s:' .. sid)
if not S then return {'NO_SESSION'} end

-- Refusals that no money can mend.
local retry, transient, short = false, false, false
if code then effect = 'deny'
elseif T[T_STATUS] ~= 'active' then code = 'tenant_halted'
elseif G[G_STATUS] ~= 'active' then code = 'agent_blocked'
elseif capability and not string.find(S[S_CAPABILITIES], ',' .. capability .. ',', 1, true) then code = 'missing_capability'
elseif priority > S[S_PRIORITY] then code = 'priority_above_maximum'
elseif effect == 'deny' then code = 'policy' end

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
local chosen, full, amount, samples, judged = candidates, false, candidates[3], 0, not code
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
    code, transient = 'too_many_open_grants', true
  elseif short then
    code, transient, retry = 'budget_exceeded', true, window_end(lines[short + 2])
  end
end
local recommended, model, bound = chosen[1], chosen[2], chosen[3]

-- Thresholds on what it may cost at most: {above, effect, rule, reason, ...}; the strictest wins.
if not code then
  for i = 1, #limits, 4 do
    if bound > limits[i] and (limits[i + 1] == 'deny' or effect == 'allow') then
      effect, rule, reason = limits[i + 1], limits[i + 2], limits[i + 3]
      if effect == 'deny' then code = 'policy' end
    end
  end
end

if code and judged then -- nothing is taken, so what is left is what was left before
  for i = LINE, #lines, LINE do
    if lines[i] then lines[i] = lines[i] + amount end
  end
end

-- From here on there are only writes, and those that a damaged key could stop come first.
local config = T[T_CONFIG]
local state = code and 'R' or effect == 'escalate' and 'P' or 'G'
local deadline = state == 'G' and NOW + config[C_GRANT] or state == 'P' and NOW + config[C_APPROVAL] or 0
local R = {}
R[R_STATE], R[R_AGENT], R[R_REQUEST], R[R_SESSION], R[R_DIGEST], R[R_POLICY] = state, agent, request_id, sid, digest, policy
R[R_CREATED], R[R_CHANGED], R[R_DEADLINE], R[R_AMOUNT], R[R_CHARGED] = NOW, NOW, deadline, amount, 0
R[R_CODE] = code or state == 'P' and 'escalated' or 'ok'
R[R_RULE], R[R_REASON], R[R_RETRY] = rule or false, reason or false, retry
R[R_MODEL], R[R_RECOMMENDED], R[R_RESOURCE], R[R_LINES] = model, recommended, resource, lines
R[R_SHORT], R[R_SETTLED], R[R_STRICT], R[R_SAMPLES] = short, false, forecast and bound or 0, samples
local body = encode(R)
local kind = state == 'G' and 'granted' or state == 'P' and 'pending' or 'rejected'
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
  G[G_OPEN], G[G_SEEN], S[S_SEEN] = G[G_OPEN] + 1, NOW, NOW
  event(kind, body, trace)
  if next(CHANGED) then flush() end -- what a sweep or a shared budget left
  call('MSET', record_key, body, KEYS[1], encode(T), agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))
end
return {'NEW', body}
