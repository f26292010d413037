-- Every budget that applies, for the amount asked: none is written here.
local lines, purses, evicted = NEW_M, {}, false
local is_own = agent == OWN_AGENT -- what is spent on trials leaves some of what is shared to the others
local function judge(owner, purse, amount)
  for i = 1, #purse do
    local b = roll(purse[i])
    local limit = b[B_LIMIT]
    local room = limit and limit - b[B_SPENT] - b[B_RESERVED] - amount
    local at = #lines
    lines[at + M_OWNER], lines[at + M_KIND], lines[at + M_WINDOW] = owner, b[B_KIND], b[B_WINDOW]
    lines[at + M_LIMIT], lines[at + M_ROOM] = limit, room
    fill_M(lines, at)
    purses[#purses + 1] = b
    local least = is_own and limit and owner ~= 'a' and owner ~= 's' and limit / KEPT_FOR_OTHERS or 0
    if room and room < least and not short then short = at end
  end
end
local function judge_shared(owner, amount)
  local purse = fetch(shared_name(owner))
  if purse then judge(owner, purse, amount)
  elseif call('SISMEMBER', PREFIX .. 'bs', owner) == 1 then evicted = owner end
end
local function judge_all(model, amount)
  lines, purses, short = NEW_M, {}, false
  judge('a', G[G_PURSE], amount)
  judge('s', S[S_PURSE], amount)
  judge('t', T[T_PURSE], amount)
  if opener and opener ~= G then judge('o:' .. flow[FLOW_OPENER], opener[G_PURSE], amount) end
  local shared = T[T_SHARED]
  if shared[A_LABELS] > 0 then
    local own = {}
    for _, label in ipairs(G[G_LABELS]) do
      own[label] = true
      judge_shared('l:' .. label, amount)
    end
    for _, label in ipairs(bid and bid[BID_LABELS] or {}) do
      if not own[label] then judge_shared('l:' .. label, amount) end
    end
  end
  if shared[A_RESOURCES] > 0 then judge_shared('k:' .. resource, amount) end
  if shared[A_MODELS] > 0 and model then judge_shared('m:' .. model, amount) end
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

-- The first candidate that the money allows, with its amount and samples. The others come packed, because they are seldom
-- needed.
local function choose()
  local first_amount, first_samples = amount_of(candidates[CANDIDATE_MODEL], candidates[CANDIDATE_BOUND])
  judge_all(candidates[CANDIDATE_MODEL], first_amount)
  if not short or not candidates[CANDIDATE_OTHERS] then return candidates, first_amount, first_samples end
  local others = decode(candidates[CANDIDATE_OTHERS])
  for i = 1, #others do
    local other = others[i]
    local amount, samples = amount_of(other[CANDIDATE_MODEL], other[CANDIDATE_BOUND])
    judge_all(other[CANDIDATE_MODEL], amount)
    if not short then return other, amount, samples end
  end
  judge_all(candidates[CANDIDATE_MODEL], first_amount) -- the refusal speaks of the first
  return candidates, first_amount, first_samples
end
local chosen, full, amount, samples, measured = candidates, false, candidates[CANDIDATE_BOUND], 0, not code
if code then
  judge_all(candidates[CANDIDATE_MODEL], 0)
else
  -- Nobody is refused for money or room that only the overdue still hold.
  for round = 1, 2 do
    chosen, amount, samples = choose()
    full = G[G_OPEN] >= T[T_CONFIG][C_OPEN]
    if not (short or full) or not behind then break end
    if round == 2 then return {'SWEEP'} end
    behind = sweep(200)
    G, S = fetch('a:' .. agent), fetch('s:' .. sid)
    if not S then return {'NO_SESSION'} end
  end
  if full then
    code, transient, effect = 'too_many_open_grants', true, 'deny'
    stands_at('grants', T[T_CONFIG][C_OPEN], 0, 1)
  elseif short then
    object('deny', 'budget_exceeded')
    if code then transient, retry = true, budget_end(purses[(short - 1) / M_WIDTH + 1]) end
  end
end
if evicted then return {'BUDGET_LOST', evicted} end
local recommended, model, bound = chosen[CANDIDATE_RECOMMENDED], chosen[CANDIDATE_MODEL], chosen[CANDIDATE_BOUND]

-- Thresholds on what it may cost at most.
for at = 0, judged and #limits - 1 or -1, LIMIT_WIDTH do
  if bound > limits[at + LIMIT_ABOVE] then
    if object(limits[at + LIMIT_EFFECT], 'policy', limits[at + LIMIT_OBSERVED], limits[at + LIMIT_RULE],
        limits[at + LIMIT_REASON]) then
      stands_at('usd', limits[at + LIMIT_ABOVE], limits[at + LIMIT_ABOVE], bound)
    end
  end
end
