-- How records and sessions end: settled, released, expired or timed out; and how questions are answered.
-- Both answer the record as it was written: packing it costs more than most of what is done with it.
local function store_ended(id, R)
  local body = encode(R)
  call('SET', PREFIX .. 'r:' .. id, body, 'PX', string.format('%.0f', R[R_WATCHED] and WATCHED or T[T_CONFIG][C_KEEP]))
  return body
end
local function store_open(id, R)
  local body = encode(R)
  call('SET', PREFIX .. 'r:' .. id, body)
  return body
end

local function bill() return PREFIX .. 'u:' .. string.format('%.0f', window_number('d')) end

-- Fails, before anything is written, where a key is damaged that an ending writes one command at a time.
local function check_keys(id, R)
  call('ZSCORE', PREFIX .. 'd', 'r:' .. id)
  call('XLEN', PREFIX .. 'e')
  call('HLEN', PREFIX .. 'c')
  call('HLEN', bill())
  if R[R_ASKED] then
    call('ZSCORE', PREFIX .. 'ap', id)
    call('ZCARD', PREFIX .. 'ah')
  end
end

-- What a day cost, by agent, model and labels, for the operator's bill; and how much of it is `estimated`. An agent that
-- names more models than BILLED_ROWS a day has the others in one row, so that it fills no bill with names that it makes up.
local function book(R, cost, calls, estimated)
  if cost == 0 and calls == 0 and estimated == 0 then return end
  local G, day, key = fetch('a:' .. R[R_AGENT]), window_number('d'), bill()
  local labels = G and table.concat(G[G_LABELS], ',') or ''
  local function row(model) return R[R_AGENT] .. '\t' .. R[R_RESOURCE] .. '\t' .. model .. '\t' .. labels .. '\t' end
  local field = row(R[R_MODEL] or '')
  if G and G[G_BILLED] == day and G[G_ROWS] >= BILLED_ROWS and call('HEXISTS', key, field .. 'n') == 0 then field = row('*') end
  call('HINCRBY', key, field .. '$', string.format('%.0f', cost))
  count(COUNT_CHARGED, string.format('%.0f', cost))
  if estimated ~= 0 then
    call('HINCRBY', key, field .. '~', string.format('%.0f', estimated))
    count(COUNT_ESTIMATED, string.format('%.0f', estimated))
  end
  local sum = call('HINCRBY', key, field .. 'n', calls)
  if sum ~= calls then return end
  call('EXPIRE', key, 400 * 86400) -- the first of its row, and so perhaps of the day
  if G then
    if G[G_BILLED] ~= day then G[G_BILLED], G[G_ROWS] = day, 0 end
    G[G_ROWS] = G[G_ROWS] + 1
    change('a:' .. R[R_AGENT])
  end
end

-- Moves money in every budget of the record. `before` is what the record counts as reserved now, `spent_before` what
-- it counts as spent; afterwards it is spent, up to the reservation in its own window, the rest in the present one.
local function move(R, before, spent_before, charged)
  local lines, amount = R[R_LINES], R[R_AMOUNT]
  for at = 1, #lines - 1, lines[1] do
    local owner = lines[at + M_OWNER]
    local purse, name = purse_of(owner, R[R_AGENT], R[R_SESSION])
    local b = purse and find(purse, lines[at + M_KIND])
    if b then
      roll(b)
      add(b, lines[at + M_WINDOW], math.min(charged, amount) - spent_before, -before)
      if charged > amount then add(b, b[B_WINDOW], charged - amount, 0) end
      note_crossing(b, owner, R[R_AGENT], R[R_SESSION])
      change(name)
    end
  end
end

-- What waits, for a person or a lock, counts with its agent and with all agents of the credential that opened its session:
-- by the hour of its deadline, so that what an older version ended, which knows nothing of this, drops out then.
local function counted(hours, hour, more)
  hours = hours or {}
  local held = (hours[hour] or 0) + more
  hours[hour] = held > 0 and held or nil
  return next(hours) and hours or false
end

local function count_waiting(R, more)
  local whose = R[R_CREDENTIAL]
  if not whose then return end
  local hour, all = string.format('%d', math.floor(R[R_DEADLINE] / 3600000)), T[T_WAITING] or {}
  local G = fetch('a:' .. R[R_AGENT])
  all[whose] = counted(all[whose], hour, more) or nil
  T[T_WAITING] = next(all) and all or false
  change('t')
  if G then
    G[G_WAITING] = counted(G[G_WAITING], hour, more)
    change('a:' .. R[R_AGENT])
  end
end

local function end_waiting(R)
  count_waiting(R, -R[R_AMOUNT])
  R[R_CREDENTIAL] = false
end

local function waiting_in(hours)
  local sum, now = 0, math.floor(NOW / 3600000)
  for hour, held in pairs(hours or {}) do
    if tonumber(hour) < now then hours[hour] = nil else sum = sum + held end
  end
  return sum
end

-- Takes an answered question off its agent and off the list of open ones, and wakes those who wait for it.
local function answer(id, R, how, by, why)
  local Q, G = R[R_ASKED], fetch('a:' .. R[R_AGENT])
  Q[Q_HOW], Q[Q_BY], Q[Q_WHY] = how, by or false, why or false
  Q[Q_AT], Q[Q_DEADLINE] = how == 'timed_out' and R[R_DEADLINE] or NOW, R[R_DEADLINE]
  if G then
    G[G_PENDING], G[G_QUESTIONS] = G[G_PENDING] - R[R_AMOUNT], G[G_QUESTIONS] - 1
    change('a:' .. R[R_AGENT])
  end
  end_waiting(R)
  count(COUNT_ANSWERED, 1)
  count(COUNT_ANSWER_MS, string.format('%.0f', math.max(0, Q[Q_AT] - R[R_CREATED])))
  call('ZREM', PREFIX .. 'ap', id)
  call('ZADD', PREFIX .. 'ah', Q[Q_AT], id)
  if string.find(id, '^[01]') then call('ZREMRANGEBYRANK', PREFIX .. 'ah', 0, -HISTORY - 1) end -- an eighth of the time
  call('PUBLISH', PREFIX .. 'i', id)
end

-- What was approved in advance counts what its grants really cost.
local function correct_envelope(R, more)
  local envelopes = R[R_ENVELOPE] and fetch('v') or {}
  for i = 1, #envelopes do
    local V = envelopes[i]
    if V[V_ID] == R[R_ENVELOPE] then
      V[V_USED] = V[V_USED] + more
      change('v')
    end
  end
end

-- Ends an open record: reserved becomes charged or free, and its lock goes to the next in the queue. One event. `by` and
-- `why` answer a question.
local function close(id, R, state, charged, by, why, facts)
  check_keys(id, R)
  local lease, before = R[R_LOCK], R[R_STATE]
  local never = R[R_CODE] == 'withdrawn' or lease and not lease[K_CLAIMED] -- its agent used nothing of a plan
  if lease and R[R_STATE] == STATE_LIVE then
    local held = give_back_lock('lk_' .. id, R[R_AGENT], lease[K_RESOURCE])
    lease[K_LOST] = lease[K_CLAIMED] and (state == STATE_EXPIRED or not held)
  end
  move(R, R[R_AMOUNT], 0, charged)
  if R[R_STATE] == STATE_PENDING then answer(id, R, ANSWERS[state], by, why)
  elseif R[R_CREDENTIAL] then end_waiting(R) end
  correct_envelope(R, charged - R[R_AMOUNT])
  flows.count(id, R, charged - R[R_AMOUNT], never and state == STATE_RELEASED and -1 or 0, -1)
  R[R_STATE], R[R_CHARGED], R[R_CHANGED] = state, charged, NOW
  local G = fetch('a:' .. R[R_AGENT])
  if G then
    G[G_OPEN] = G[G_OPEN] - 1
    change('a:' .. R[R_AGENT])
  end
  local calls = (state == STATE_RELEASED or state == STATE_TIMED_OUT) and 0 or 1
  book(R, charged, calls, R[R_ESTIMATED] and charged or 0)
  local body = store_ended(id, R)
  if R[R_ASKED] and R[R_ASKED][Q_SHOWN] > 0 then -- what was shown of it is kept as long as it is
    call('PEXPIRE', PREFIX .. 'q:' .. id, T[T_CONFIG][C_KEEP])
    call('PEXPIRE', PREFIX .. 'q:' .. id .. ':e', T[T_CONFIG][C_KEEP])
  end
  call('ZREM', PREFIX .. 'd', 'r:' .. id)
  event(charged > R[R_AMOUNT] and 'overrun' or ENDED[state], told_of(R, body), nil, nil, facts)
  if R[R_PLAN_STEP] < 0 then
    flows.over(id, before == STATE_PENDING and ANSWERS[state] or R[R_DEADLINE] <= NOW and 'time' or 'opener', by)
    flows.clear(id, 20)
  elseif R[R_WORKFLOW] and flows.used_up(fetch('wf:' .. R[R_WORKFLOW]) or NEW_FLOW) then
    flows.finish(R[R_WORKFLOW])
  end
  return body
end

-- What an expired grant was charged, once more and rightly; who calls tells of it.
local function correct(id, R, state, charged, estimated)
  local before = R[R_CHARGED]
  check_keys(id, R)
  move(R, 0, before, charged)
  book(R, charged - before, 0, (estimated and charged or 0) - (R[R_ESTIMATED] and before or 0))
  correct_envelope(R, charged - before)
  flows.count(id, R, charged - before, 0, 0)
  R[R_STATE], R[R_CHARGED], R[R_CHANGED], R[R_ESTIMATED] = state, charged, NOW, estimated
  return store_ended(id, R)
end

-- The same grant turns live: its money is held already, so it never bounces for lack of budget. Nobody has claimed it yet.
local function go_live(id, R, by, why, since)
  check_keys(id, R)
  local whose = R[R_CREDENTIAL]
  answer(id, R, 'approved', by, why)
  flows.count(id, R, -R[R_AMOUNT], 0, 0)
  R[R_STATE], R[R_CODE], R[R_CHANGED], R[R_DEADLINE] = STATE_LIVE, 'approved', NOW, since + T[T_CONFIG][C_GRANT]
  flows.count(id, R, R[R_AMOUNT], 0, 0)
  if R[R_PLAN_STEP] < 0 then flows.begin(id, R) end
  if R[R_LOCK] then -- which it waits for now
    R[R_CREDENTIAL] = whose
    count_waiting(R, R[R_AMOUNT])
  end
  due_at('r:' .. id, R[R_DEADLINE])
  change('t')
  local body = store_open(id, R)
  event('approved', told_of(R, body))
  return body
end

-- Whether the agent of a question may still act at all.
local function halted(R)
  local G = fetch('a:' .. R[R_AGENT])
  return T[T_STATUS] ~= 'active' and 'HALTED' or not (G and G[G_STATUS] == 'active') and 'BLOCKED'
end

-- Whether the rules in force are newer than those by which a question was judged last.
local function outdated(Q, R)
  return (Q[Q_JUDGED] > 0 and Q[Q_JUDGED] or R[R_POLICY]) ~= policy_of(R[R_SESSION])
end

-- Whether what a caller `ruled` is of other rules than those that hold for the session.
local function ruled_before(ruled, R)
  local due, tried = policy_of(R[R_SESSION])
  return ruled[RULED_POLICY] ~= due or ruled[RULED_TRIAL] ~= tried
end

-- Judges such a question by the rules in force, as the caller has `ruled` it: they may deny it, whatever a person said. What
-- asks for a person was asked. Answers whether they deny it, by which rule, and why.
local function judge_again(R, ruled)
  local Q, bound, limits = R[R_ASKED], math.max(R[R_AMOUNT], R[R_STRICT]), ruled[RULED_LIMITS]
  Q[Q_JUDGED] = policy_of(R[R_SESSION])
  if T[T_MODE] == 'observe' then return end
  if ruled[RULED_EFFECT] == 'deny' then return true, ruled[RULED_RULE], ruled[RULED_REASON] end
  for at = 0, #limits - 1, LIMIT_WIDTH do
    if bound > limits[at + LIMIT_ABOVE] and limits[at + LIMIT_EFFECT] == 'deny' and not limits[at + LIMIT_OBSERVED] then
      return true, limits[at + LIMIT_RULE], limits[at + LIMIT_REASON]
    end
  end
end

local function unheard(R)
  return R[R_STATE] == STATE_LIVE and (R[R_ASKED] and not R[R_ASKED][Q_CLAIMED] or R[R_LOCK] and not R[R_LOCK][K_CLAIMED])
end

-- Takes the lock that a record is about. Answers what is in the way of it, or how its claim stands.
local function attend(id, agent, sid, lease, inbox)
  local trouble, stands, most = attend_lock('lk_' .. id, agent, sid, lease, inbox)
  if stands then lease[K_CLAIMED] = stands[D_STATE] == 'held' end
  return trouble, stands, most
end

-- The agent learns that its grant is live: from now on it may be used, and its time begins. One that was stopped meanwhile
-- does not begin, nor does one whose lock is still to come, or that newer rules deny: `ruled` is what they say of it, and
-- without that it stays as it is and says what is missing. The zone must be known.
local function claim(id, R, inbox, ruled)
  if not unheard(R) or R[R_PLAN_STEP] < 0 then return end
  local lease, stands, stopped = R[R_LOCK], nil, halted(R)
  if stopped then
    if lease then R[R_CODE] = stopped == 'HALTED' and 'tenant_halted' or 'agent_blocked' end
    return close(id, R, STATE_RELEASED, 0)
  end
  local Q = R[R_ASKED]
  local again = Q and outdated(Q, R)
  if again then
    if not ruled or ruled_before(ruled, R) then
      Q[Q_UNJUDGED] = policy_of(R[R_SESSION])
      return encode(R)
    end
    local denied, rule, reason = judge_again(R, ruled)
    if denied then
      R[R_CODE], R[R_RULE], R[R_REASON] = 'policy', rule, reason
      return close(id, R, STATE_RELEASED, 0)
    end
  end
  local queued = lease and lease[K_QUEUED]
  if lease then
    local trouble
    trouble, stands = attend(id, R[R_AGENT], R[R_SESSION], lease, inbox or false)
    if trouble then
      R[R_CODE] = trouble
      return close(id, R, STATE_RELEASED, 0)
    end
  end
  if not lease or lease[K_CLAIMED] then
    if Q then Q[Q_CLAIMED] = true end
    end_waiting(R)
    R[R_DEADLINE] = math.max(R[R_DEADLINE], NOW + T[T_CONFIG][C_GRANT])
    due_at('r:' .. id, R[R_DEADLINE])
    change('t')
    local body = store_open(id, R)
    if not lease then return body end
    event('granted', told_of(R, body))
  elseif again or not queued then
    store_open(id, R)
  end
  lease[K_STANDS] = stands
  return encode(R)
end

-- A record for an answer: of a lock it says how that stands now.
local function with_standing(id, R)
  local lease = R[R_LOCK]
  if lease and R[R_STATE] == STATE_LIVE and not lease[K_STANDS] then
    lease[K_STANDS] = peek_lock('lk_' .. id, lease[K_RESOURCE])
  end
  return encode(R)
end

-- A grant past its deadline was perhaps used, so it is charged. A question nobody answered was not, so it is free, and so
-- is an approved grant of which its agent never heard, or one that never got its lock.
local function expire(id, R)
  if R[R_STATE] == STATE_PENDING and R[R_ASKED][Q_APPROVES] and not halted(R) then
    go_live(id, R, false, false, R[R_DEADLINE])
    if not overdue(R) then return end
  end
  if R[R_STATE] == STATE_PENDING then close(id, R, STATE_TIMED_OUT, 0)
  elseif unheard(R) then
    if R[R_LOCK] and R[R_LOCK][K_QUEUED] then R[R_CODE] = 'lock_timed_out' end
    close(id, R, STATE_RELEASED, 0)
  else
    R[R_ESTIMATED] = true
    close(id, R, STATE_EXPIRED, R[R_AMOUNT])
  end
end

local function expire_session(sid)
  local S = fetch('s:' .. sid)
  if not S then
    call('ZREM', PREFIX .. 'd', 's:' .. sid)
  elseif S[S_SEEN] + T[T_CONFIG][C_IDLE] > NOW then
    call('ZADD', PREFIX .. 'd', S[S_SEEN] + T[T_CONFIG][C_IDLE], 's:' .. sid)
  else
    call('ZREM', PREFIX .. 'd', 's:' .. sid)
    call('ZREM', PREFIX .. 'as:' .. S[S_AGENT], sid)
    call('DEL', PREFIX .. 's:' .. sid)
    HELD['s:' .. sid], CHANGED['s:' .. sid] = false, nil
    event('session_closed', encode({NOW, S[S_AGENT], sid}))
  end
end

-- Ends up to `most` overdue things, oldest first; answers whether some are left. Written before anything is judged.
local function sweep(most)
  local due = call('ZRANGEBYSCORE', PREFIX .. 'd', '-inf', NOW, 'LIMIT', 0, most)
  for i = 1, #due do
    local kind, id = string.sub(due[i], 1, 1), string.sub(due[i], 3)
    if kind == 's' then
      expire_session(id)
    elseif kind == 'a' then
      end_repeated(due[i])
    elseif kind == 'w' then
      flows.clear(id, 20)
    else
      local blob = call('GET', PREFIX .. 'r:' .. id)
      local R = blob and complete_R(decode(blob))
      local open = R and (R[R_STATE] == STATE_LIVE or R[R_STATE] == STATE_PENDING) -- else one before it ended it, too
      if open then expire(id, R) else call('ZREM', PREFIX .. 'd', due[i]) end
    end
  end
  local first = call('ZRANGE', PREFIX .. 'd', 0, 0, 'WITHSCORES')
  T[T_DUE] = first[2] and tonumber(first[2]) or MAX
  change('t')
  flush()
  return T[T_DUE] <= NOW
end
