-- From here on there are only writes, and those that a damaged key could stop come first.
local config = T[T_CONFIG]
local state = code and STATE_REJECTED or effect == 'escalate' and STATE_PENDING or STATE_LIVE
local outcome = STATE_OF_EFFECT[would]
local deadline = state == STATE_LIVE and NOW + config[C_GRANT] or state == STATE_PENDING and NOW + span or 0
local R = NEW_R
R[R_STATE], R[R_AGENT], R[R_REQUEST], R[R_SESSION], R[R_DIGEST], R[R_POLICY] = state, agent, request_id, sid, digest, policy
R[R_CREATED], R[R_CHANGED], R[R_DEADLINE], R[R_AMOUNT], R[R_CHARGED] = NOW, NOW, deadline, amount, 0
R[R_CODE] = code or state == STATE_PENDING and 'escalated' or 'ok'
R[R_RULE], R[R_REASON], R[R_RETRY] = rule or false, reason or false, retry
R[R_MODEL], R[R_RECOMMENDED], R[R_RESOURCE], R[R_LINES] = model, recommended, resource, lines
R[R_SHORT], R[R_SETTLED], R[R_STRICT], R[R_SAMPLES] = short and (short - 1) / M_WIDTH, false, forecast and bound or 0, samples
R[R_TRUSTED] = G[G_TRUST] == 'trusted' or S[S_LOCAL] and G[G_TRUST] ~= 'estimate'
R[R_WOULD] = outcome ~= state and state ~= STATE_REJECTED and outcome
R[R_ASKED], R[R_ENVELOPE] = state == STATE_PENDING and asked, envelope and state == STATE_LIVE and envelope[V_ID] or false
R[R_WORKFLOW], R[R_PLAN_STEP] = flow and S[S_WORKFLOW] or false, state == STATE_LIVE and step or 0
R[R_ATTEMPT], R[R_WHY], R[R_LOCK] = attempt, false, state ~= STATE_REJECTED and lease or false
if chosen_for and recommended then -- what was said of the request and of the model chosen for it; of the others, nothing
  local at = string.find(chosen_for, '\n' .. recommended .. '\t', 1, true)
  if at then R[R_WHY] = string.match(chosen_for, '^[^\n]*') .. string.match(chosen_for, '^\n[^\n]*', at) end
end
if state == STATE_PENDING and shown then asked[Q_SHOWN] = #shown end
if state == STATE_PENDING and asked[Q_REMIND] > 0 then asked[Q_REMIND] = math.max(NOW, deadline - asked[Q_REMIND]) end
local held = not lease or lease[K_CLAIMED]
local waits = state == STATE_PENDING or state == STATE_LIVE and not held
R[R_CREDENTIAL] = waits and (S[S_CREDENTIAL] or '')
R[R_KEY], R[R_BASIS], R[R_BAR] = S[S_CREDENTIAL] or false, basis, state ~= STATE_LIVE and bar
R[R_TASK], R[R_LABELS] = task, G[G_LABELS][1] and table.concat(G[G_LABELS], ',') or false
R[R_MATCHED] = (hit[2] or hit[1] and hit[1] ~= rule) and table.concat(hit, '\t') or false
local body = encode(R)
local kind = state == STATE_REJECTED and 'rejected' or state == STATE_LIVE and held and 'granted' or 'pending'
if state == STATE_REJECTED then
  local again = true -- as those beyond what a second may have leave no event, so that nobody fills the store with them
  if code ~= 'too_many_requests' then
    local refused, request, lacking = NEW_REFUSED, whole_request(trace, said), code == 'budget_exceeded' and short
    local owner = lacking and lines[lacking + M_OWNER]
    refused[REFUSED_CODE], refused[REFUSED_POLICY], refused[REFUSED_RULE] = code, policy, rule or false
    refused[REFUSED_RESOURCE], refused[REFUSED_OWNER] = resource, owner
    refused[REFUSED_WINDOW] = lacking and lines[lacking + M_KIND]
    refused[REFUSED_SESSION], refused[REFUSED_MODEL] = owner == 's' and sid, request.model or false
    refused[REFUSED_TOOL], refused[REFUSED_TARGET] = request.tool or false, request.target_resource or false
    refused[REFUSED_CAPABILITY], refused[REFUSED_SINCE], refused[REFUSED_UNTIL] = capability or false, NOW, NOW
    refused[REFUSED_COUNT], refused[REFUSED_MOST] = 0, amount
    if lacking and tell_ahead(purses[(lacking - 1) / M_WIDTH + 1], owner, agent, sid) then
      local _, name = purse_of(owner, agent, sid)
      change(name)
    end
    again = counts_as_repeated(agent, G, refused)
    if not again then
      refused[REFUSED_SAID] = event(kind, body, trace, code, nil, said[SAID_DIGEST])
      keep_words(agent, G, refused[REFUSED_SAID], said)
    end
    local brief = transient or again
    -- A transaction is judged anew each time: its bytes, which name its request, cannot change when gas does.
    if not bid then call('SET', record_key, body, 'PX', brief and math.min(config[C_TRANSIENT], config[C_KEEP]) or config[C_KEEP]) end
  end
  if again then count(kind .. '\t' .. code, 1) end
  flush()
else
  if watch then -- of a transaction: what it is, and when to see what became of it
    call('ZADD', PREFIX .. 'gd', deadline, id)
    call('SET', PREFIX .. 'gt:' .. id, watch, 'PX', string.format('%.0f', deadline - NOW + config[C_GRANT_MAX] + config[C_KEEP]))
  end
  if G[G_REFUSED][1] then tell_repeated(agent, G) end
  due_at('r:' .. id, deadline)
  for i = 1, #purses do
    local b, owner = purses[i], lines[1 + (i - 1) * M_WIDTH + M_OWNER]
    add(b, b[B_WINDOW], 0, amount)
    note_crossing(b, owner, agent, sid)
    if #owner > 1 then change(shared_name(owner)) end
  end
  for at = 0, counted and #counters - 1 or -1, COUNTER_WIDTH do
    if counters[at + COUNTER_KIND] == 'spend' then
      local b = G[G_COUNTERS][counters[at + COUNTER_RULE]]
      add(b, b[B_WINDOW], bound, 0)
    end
  end
  if waits then count_waiting(R, amount) end
  if state == STATE_PENDING then
    G[G_PENDING], G[G_QUESTIONS] = G[G_PENDING] + amount, G[G_QUESTIONS] + 1
    call('ZADD', PREFIX .. 'ap', NOW, id)
    if joins then call('SET', PREFIX .. 'qn:' .. joins[JOINS_NAME], id, 'PX', string.format('%.0f', span + config[C_GRANT] + config[C_KEEP])) end
    if shown then call('SET', PREFIX .. 'q:' .. id, shown, 'PX', string.format('%.0f', span + config[C_KEEP])) end
  elseif R[R_ENVELOPE] then
    envelope[V_USED], envelope[V_USES] = envelope[V_USED] + amount, envelope[V_USES] + 1
    change('v')
  end
  if flow then
    if state == STATE_PENDING then flow[FLOW_ASKED] = flow[FLOW_ASKED] + 1 end
    flows.count(id, R, amount, 1, 1)
  end
  G[G_OPEN], G[G_SEEN], S[S_SEEN] = G[G_OPEN] + 1, NOW, NOW
  if state == STATE_PENDING and said_asked then said = said_asked end
  if asked then asked[Q_SAID] = '' end -- with this event itself
  local told = told_of(R, body)
  local event_id = event(kind, told, state == STATE_LIVE and trace, R[R_CODE], nil, said[SAID_DIGEST]) -- a question holds its trace
  keep_words(agent, G, event_id, said)
  if state == STATE_PENDING then -- the events that follow are about the same words
    asked[Q_SAID] = event_id
    body = encode(R)
  end
  if next(CHANGED) then -- what a sweep or a shared budget left
    CHANGED.t, CHANGED['a:' .. agent] = nil, nil
    flush()
  end
  call('MSET', record_key, body, KEYS[1], encode(T), agent_key, encode(G), PREFIX .. 's:' .. sid, encode(S))
end
if stands and state == STATE_LIVE then
  lease[K_STANDS] = stands
  body = encode(R)
end
return {'NEW', body}
