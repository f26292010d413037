--@ capabilities
-- Registers an agent on first sight and opens a session. It never raises or resets a budget.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local refused = not is_local and refuse_beyond_rate(agent, nil, nil, credential)
if refused then return refused end
local G, S, config = fetch('a:' .. agent), fetch('s:' .. sid), T[T_CONFIG]

-- A refusal is told, and nothing else is written. `who` is what floods of it have in common.
local function turned_away(who, code, answer)
  local count, whom = refusals_to_tell('handshake', who, code, 1)
  if count then event('handshake_refused', encode({NOW, whom == who and agent or false, code, credential or false, count})) end
  return answer
end
if S and S[S_TOKEN] ~= token then return turned_away(agent, 'bad_token', {'BAD_TOKEN'}) end
if G and G[G_STATUS] ~= 'active' then return turned_away(agent, 'agent_blocked', {'BLOCKED'}) end
local F, J
if flow_id and not S then -- with a join token: whose, for how many, and when, is the workflow's to say
  F = fetch('wf:' .. flow_id)
  if not F then return turned_away(agent, 'no_workflow', {'NO_WORKFLOW'}) end
  for i = 1, #F[FLOW_JOINS] do
    if F[FLOW_JOINS][i][JOIN_HASH] == flow_token then J = F[FLOW_JOINS][i] end
  end
  local function fits_one(patterns)
    for i = 1, #patterns do
      local head = string.match(patterns[i], '^(.*)%*$')
      if patterns[i] == agent or head and string.sub(agent, 1, #head) == head then return true end
    end
    return #patterns == 0
  end
  local over = F[FLOW_STATE] == 'ended' or F[FLOW_STATE] == 'live' and NOW >= F[FLOW_EXPIRES]
  if over then return turned_away(agent, 'workflow_ended', {'WORKFLOW_OVER', F[FLOW_HOW] or 'time'}) end
  if not J then return turned_away(agent, 'bad_join_token', {'BAD_JOIN'}) end
  if F[FLOW_STATE] == 'pending' then return turned_away(agent, 'workflow_pending', {'WORKFLOW_PENDING'}) end
  if NOW >= J[JOIN_EXPIRES] then return turned_away(agent, 'join_token_expired', {'JOIN_EXPIRED'}) end
  if J[JOIN_USES] < 1 then return turned_away(agent, 'join_token_used', {'JOIN_USED'}) end
  if not fits_one(F[FLOW_AGENTS]) or not fits_one(J[JOIN_AGENTS] and {J[JOIN_AGENTS]} or {}) then
    return turned_away(agent, 'may_not_join', {'MAY_NOT_JOIN'})
  end
  if F[FLOW_JOINED] >= F[FLOW_MOST] then return turned_away(agent, 'workflow_full', {'WORKFLOW_FULL', F[FLOW_MOST]}) end
  if F[FLOW_CAPABILITIES] then capabilities = common(capabilities, F[FLOW_CAPABILITIES]) end
  priority = math.min(priority, F[FLOW_PRIORITY])
end
if not S and G and guarded and call('ZCARD', PREFIX .. 'as:' .. agent) > 0 then
  -- A live agent is taken over only with the token of one of its sessions, or by an operator (who is not guarded).
  if not owned_token or impostor(agent, owned_sid, owned_token) then
    return turned_away(agent, 'agent_is_live', {'LIVE'})
  end
end
if not S then
  if not G then
    -- Who was registered has a record, which never ends: one that is gone was evicted, with what was spent.
    if call('ZSCORE', PREFIX .. 'ag', agent) or call('ZCARD', PREFIX .. 'ag') ~= T[T_AGENTS] then return {'AGENT_LOST', agent} end
    if T[T_AGENTS] >= config[C_AGENTS] then
      return turned_away(credential or '', 'too_many_agents', {'TOO_MANY_AGENTS', config[C_AGENTS]})
    end
    if credential and tonumber(call('HGET', PREFIX .. 'ac', credential) or 0) >= config[C_KEY_AGENTS] then
      return turned_away(credential, 'too_many_agents', {'TOO_MANY_AGENTS', config[C_KEY_AGENTS], 'key'})
    end
    G = NEW_G
    G[G_STATUS], G[G_FRAMEWORK], G[G_OPEN], G[G_SESSION], G[G_LABELS] = 'active', framework, 0, sid, {}
    G[G_PURSE], G[G_REGISTERED], G[G_SEEN] = {new_budget('d', config[C_AGENT_DAY])}, NOW, NOW
    G[G_PROFILE], G[G_PRIORITY], G[G_CAPABILITIES], G[G_TRUST] = 0, 10, false, false
    G[G_PENDING], G[G_QUESTIONS], G[G_COUNTERS], G[G_RING] = 0, 0, {}, ''
    HELD['a:' .. agent] = G
    T[T_AGENTS] = T[T_AGENTS] + 1
    call('ZADD', PREFIX .. 'ag', 0, agent)
    if credential then call('HINCRBY', PREFIX .. 'ac', credential, 1) end
  end
  G[G_FRAMEWORK], G[G_SESSION], G[G_SEEN] = framework, sid, NOW
  S = NEW_S
  S[S_AGENT], S[S_PRIORITY], S[S_CAPABILITIES], S[S_TOKEN] = agent, priority, capabilities, token
  S[S_OPENED], S[S_SEEN], S[S_FRAMEWORK], S[S_LOCAL] = NOW, NOW, framework, is_local
  S[S_CREDENTIAL], S[S_WORKFLOW] = credential or false, flow_id or false
  if F then
    J[JOIN_USES], F[FLOW_JOINED] = J[JOIN_USES] - 1, F[FLOW_JOINED] + 1
    call('ZADD', PREFIX .. 'wm:' .. flow_id, NOW, sid)
    change('wf:' .. flow_id)
  end
  S[S_PURSE] = session_limit and {new_budget('t', session_limit)} or {}
  HELD['s:' .. sid] = S
  call('ZADD', PREFIX .. 'as:' .. agent, NOW, sid)
  local over = call('ZCARD', PREFIX .. 'as:' .. agent) - most_sessions
  if over > 0 then
    for _, old in ipairs(call('ZRANGE', PREFIX .. 'as:' .. agent, 0, over - 1)) do
      call('ZREM', PREFIX .. 'as:' .. agent, old)
      call('ZREM', PREFIX .. 'd', 's:' .. old)
      call('DEL', PREFIX .. 's:' .. old)
      event('session_closed', encode({NOW, agent, old}))
    end
  end
  due_at('s:' .. sid, NOW + config[C_IDLE])
  change('t'); change('a:' .. agent); change('s:' .. sid)
  event('handshake', encode({NOW, agent, sid, framework, priority, capabilities, session_limit or false,
    flow_id or false}))
end
for i = 1, #G[G_PURSE] do roll(G[G_PURSE][i]) end
for i = 1, #T[T_PURSE] do roll(T[T_PURSE][i]) end
flush()
local outdated = G[G_PROFILE] ~= T[T_PROFILES]
return {'OK', encode({T[T_POLICY], S[S_OPENED], G[G_PURSE], S[S_PURSE], T[T_PURSE], outdated, G[G_PRIORITY],
  G[G_CAPABILITIES], S[S_CAPABILITIES], S[S_PRIORITY]})}
