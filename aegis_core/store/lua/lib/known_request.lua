-- Is it known already? Then it is answered as it was decided. And are the caller's copies of the rules in force?
if #candidates ~= CANDIDATE_WIDTH then return redis.error_reply('ERR candidates must be a triple without nil') end

local record_key, agent_key, session_key = PREFIX .. 'r:' .. id, PREFIX .. 'a:' .. agent, PREFIX .. 's:' .. (sid or '')
local blobs = call('MGET', record_key, KEYS[1], agent_key, session_key)
T = hold('t', blobs[2])
if not T then return {'NO_TENANT'} end
local G, S = hold('a:' .. agent, blobs[3]), sid and hold('s:' .. sid, blobs[4])

local refused = impostor(agent, sid, token)
if refused then return {refused} end
local known = blobs[1] and complete_R(decode(blobs[1]))
if known and (known[R_AGENT] ~= agent or known[R_DIGEST] ~= digest) then return {'REUSED'} end
-- Of what was withdrawn nobody heard, so who asks again is judged anew; but not the very call that was given up.
if known and not (taken_back(known) and known[R_ATTEMPT] ~= attempt) then
  local R = known
  if overdue(R) then
    if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
    expire(id, R)
    flush()
  end
  if R[R_ATTEMPT] > 0 and R[R_ATTEMPT] ~= attempt and (R[R_STATE] == STATE_LIVE or R[R_STATE] == STATE_PENDING) then
    R[R_ATTEMPT] = 0 -- two calls know of it, and neither may take it from the other
    store_open(id, R)
  end
  if (R[R_ASKED] or R[R_LOCK]) and R[R_STATE] == STATE_LIVE then
    if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
    claim(id, R, lock and lock[WANTED_INBOX])
    flush()
    return {'OLD', with_standing(id, R)}
  end
  return {'OLD', encode(R)}
end
if T[T_EVICTS] then return {'EVICTING', T[T_EVICTS]} end -- what it granted it may forget
if born > 0 and NOW - born > T[T_CONFIG][C_KEEP] then return {'TOO_OLD', NOW - born} end
local due, tried = policy_of(sid)
if due ~= policy or tried ~= trial then return {'STALE', due} end
if not G then return {'NO_AGENT'} end
if latest and G[G_SESSION] ~= sid then return {'SESSION', G[G_SESSION]} end -- the caller meant the agent's open one
if not S then return {'NO_SESSION'} end
if S[S_AGENT] ~= agent then return {'NOT_YOURS'} end
if profiles ~= T[T_PROFILES] or G[G_PROFILE] ~= profiles then return {'PROFILE', T[T_PROFILES]} end
local flow = S[S_WORKFLOW] and (fetch('wf:' .. S[S_WORKFLOW]) or NEW_FLOW)
local opener = flow and flow[FLOW_OPENER] and fetch('a:' .. flow[FLOW_OPENER])
if opener and opener[G_PROFILE] ~= T[T_PROFILES] then return {'OPENER', flow[FLOW_OPENER]} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local behind = NOW >= T[T_DUE] and sweep(4)
S = fetch('s:' .. sid)
if not S then return {'NO_SESSION'} end
