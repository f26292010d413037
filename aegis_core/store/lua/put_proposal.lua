-- Brings a proposal from one revision to the next, together with what follows for the policy: all of it, or nothing. Who holds an
-- older revision changes nothing and hears of the present one, so that no step is done twice, whoever was killed when.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local all = PREFIX .. 'kp'
local blob = call('HGET', all, proposal)
local before = blob and complete_PROPOSAL(decode(blob))
if (before and before[PROPOSAL_REVISION] or 0) ~= revision then return {'OK', blob or '', 0} end
if not before and call('HLEN', all) >= MOST_PROPOSALS then
  local oldest, since = nil, MAX
  local rows = call('HGETALL', all)
  for at = 1, #rows, 2 do
    local P = complete_PROPOSAL(decode(rows[at + 1]))
    if P[PROPOSAL_ENDED] and P[PROPOSAL_CHANGED] < since then oldest, since = rows[at], P[PROPOSAL_CHANGED] end
  end
  if not oldest then return {'FULL_PROPOSALS', MOST_PROPOSALS} end
  call('HDEL', all, oldest)
end

local trial = T[T_CANARY] and T[T_CANARY][CANARY_PARENT] == T[T_POLICY] and T[T_CANARY]
local own = trial and trial[CANARY_PROPOSAL] == proposal
local function publish(text, its_digest)
  local version = math.max(T[T_POLICY], T[T_NUMBERED]) + 1
  local P = NEW_P
  P[P_VERSION], P[P_DOCUMENT], P[P_DIGEST], P[P_AUTHOR], P[P_AT], P[P_PARENT] = version, text, its_digest, author, NOW, T[T_POLICY]
  call('SET', PREFIX .. 'p:' .. version, encode(P))
  call('DEL', PREFIX .. 'p:' .. version - keep)
  T[T_NUMBERED] = version
  return version
end
local published
if act == 'begin' then
  if T[T_POLICY] ~= record[PROPOSAL_PARENT] then return {'OLD_PARENT', T[T_POLICY], record[PROPOSAL_PARENT]} end
  if trial then return {'CANARY_RUNS', trial[CANARY_PROPOSAL]} end
  local C = NEW_CANARY
  C[CANARY_PROPOSAL], C[CANARY_PARENT], C[CANARY_BELOW] = proposal, T[T_POLICY], below
  C[CANARY_VERSION] = publish(document, digest)
  record[PROPOSAL_VERSION], T[T_CANARY] = C[CANARY_VERSION], C
elseif act == 'widen' or act == 'keep' then
  if not own then return {'OLD_PARENT', T[T_POLICY], record[PROPOSAL_PARENT]} end
  if act == 'widen' then trial[CANARY_BELOW] = below
  else
    T[T_POLICY], T[T_CANARY] = trial[CANARY_VERSION], false
    published = {T[T_POLICY], record[PROPOSAL_DIGEST]}
  end
elseif act == 'stop' then
  if own then T[T_CANARY] = false end
elseif act == 'revert' then -- of what was kept, while it is still in force
  if T[T_POLICY] ~= record[PROPOSAL_VERSION] then return {'OLD_PARENT', T[T_POLICY], record[PROPOSAL_VERSION]} end
  local parent = call('GET', PREFIX .. 'p:' .. record[PROPOSAL_PARENT])
  if not parent then return {'NO_POLICY'} end
  local P = complete_P(decode(parent))
  T[T_POLICY], T[T_CANARY] = publish(P[P_DOCUMENT], P[P_DIGEST]), false
  published = {T[T_POLICY], P[P_DIGEST]}
end
if act then
  change('t')
  flush()
end
record[PROPOSAL_REVISION], record[PROPOSAL_CHANGED] = revision + 1, NOW
if not before then record[PROPOSAL_MADE] = NOW end
blob = encode(record)
call('HSET', all, proposal, blob)
if published then event('policy_published', encode({NOW, published[1], published[2], author})) end
if told then
  event('kaizen_' .. told[1], encode({NOW, proposal, told[2], record[PROPOSAL_PARENT], record[PROPOSAL_DIGEST],
    record[PROPOSAL_SHARE], told[3], told[4], told[5], author}))
end
return {'OK', blob, 1}
