-- Records. One lives under r:ID from the decision until an idempotency time after its end.
local function overdue(R)
  return (R[R_STATE] == STATE_LIVE or R[R_STATE] == STATE_PENDING) and NOW >= R[R_DEADLINE]
end

local function due_at(member, at)
  call('ZADD', PREFIX .. 'd', at, member)
  if at < T[T_DUE] then T[T_DUE] = at end
end

-- Nil when the caller is who it says; a token, when given, must be the session's own.
local function impostor(agent, sid, token)
  if not token then return nil end
  local S = fetch('s:' .. sid)
  if not S or S[S_TOKEN] ~= token then return 'BAD_TOKEN' end
  if S[S_AGENT] ~= agent then return 'NOT_YOURS' end
end
