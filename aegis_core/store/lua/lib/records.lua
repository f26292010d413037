-- Records. One lives under r:ID from the decision until an idempotency time after its end.
local function overdue(R)
  return (R[R_STATE] == STATE_LIVE or R[R_STATE] == STATE_PENDING) and NOW >= R[R_DEADLINE]
end

-- Whether its caller gave up before it heard of it.
local function taken_back(R) return R[R_STATE] == STATE_RELEASED and R[R_CODE] == 'withdrawn' end

local function due_at(member, at)
  call('ZADD', PREFIX .. 'd', at, member)
  if at < T[T_DUE] then T[T_DUE] = at end
end

-- Whether the person whose key let a session in was removed since.
local function let_in_by_nobody(S)
  if not S[S_CREDENTIAL] or call('HGET', PREFIX .. 'pc', 'key:' .. S[S_CREDENTIAL]) ~= '' then return false end
  local blob = call('GET', PREFIX .. 'k:' .. S[S_CREDENTIAL])
  local whose = blob and call('HGET', PREFIX .. 'pe', complete_Y(decode(blob))[Y_PERSON] or '')
  return not whose or complete_PERSON(decode(whose))[PERSON_REMOVED] > 0
end

-- Nil when the caller is who it says; a token, when given, must be the session's own.
local function impostor(agent, sid, token)
  if not token then return nil end
  local S = fetch('s:' .. sid)
  if not S or S[S_TOKEN] ~= token or let_in_by_nobody(S) then return 'BAD_TOKEN' end
  if S[S_AGENT] ~= agent then return 'NOT_YOURS' end
end

-- The version of the policy that holds for a session, and the proposal that says so: while a change is tried, some sessions
-- have it. Once another policy is in force than the one that it changes, nobody has it any more.
local function policy_of(sid)
  local trial = T[T_CANARY]
  if trial and trial[CANARY_PARENT] == T[T_POLICY] then
    local drawn = tonumber(string.sub(redis.sha1hex(trial[CANARY_PROPOSAL] .. ':' .. (sid or '')), 1, 8), 16)
    if drawn < trial[CANARY_BELOW] then return trial[CANARY_VERSION], trial[CANARY_PROPOSAL] end
  end
  return T[T_POLICY], false
end
