-- Settles, releases or extends one grant. The same act again is a harmless repeat; another one is a conflict.
--@ taking_back
local blobs = call('MGET', KEYS[1], PREFIX .. 'r:' .. id, PREFIX .. 'a:' .. (agent or ''), PREFIX .. 's:' .. (sid or ''))
T = blobs[1] and hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
if not blobs[2] then return {'NO_GRANT'} end
-- MGET takes a damaged key for none; it is read again where it is needed, which fails before anything is written.
if blobs[3] then hold('a:' .. agent, blobs[3]) end
if blobs[4] then hold('s:' .. sid, blobs[4]) end
local R = complete_R(decode(blobs[2]))
if agent and R[R_AGENT] ~= agent then return {'NOT_YOURS'} end
local refused = impostor(R[R_AGENT], sid, token)
if refused then return {refused} end
if R[R_WATCHED] and act ~= 'extend' and not proven then return {'WATCHED'} end -- its chain says what it cost
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if overdue(R) then expire(id, R) end
if R[R_PLAN_STEP] < 0 and act ~= 'release' then -- of a workflow, which holds no money and lasts as long as it was approved
  flush()
  return {'IS_A_PLAN'}
end

-- What an agent that is not trusted says of its spending can add to a charge, never take from it. What was approved without
-- its knowing, it did not use; to extend it is to know.
local least = (proven or R[R_TRUSTED] or act == 'release' and unheard(R)) and 0 or R[R_AMOUNT]
if act == 'extend' then
  claim(id, R)
  if R[R_ASKED] and R[R_ASKED][Q_UNJUDGED] > 0 then -- to be claimed first, by who brings what the rules say of it now
    flush()
    return {'OK', encode(R), 0, 0}
  end
end
if R[R_LOCK] then R[R_LOCK][K_STANDS] = false end
local credit = 0
if act == 'settle' then
  if proven and cost and cost < 0 then -- its chain gave back more than it took; no more of that is believed than was held
    credit, cost = math.min(-cost, R[R_AMOUNT]), 0
  end
  local most = math.max(R[R_AMOUNT], R[R_STRICT]) -- a forecast may have reserved less than the bound
  if capped and cost and cost > most then cost, estimated = most, true end
  cost = math.max(cost or R[R_AMOUNT], least)
end
outcome = R[R_TRUSTED] and R[R_WHY] and outcome -- and of the choice of models for others, it says nothing
if outcome then call('HLEN', PREFIX .. 'o') end -- fails here, before anything is written, where the key is damaged

local state, repeated, late, body = R[R_STATE], false, false, nil
if act == 'settle' then
  if state == STATE_LIVE and not (R[R_LOCK] and not R[R_LOCK][K_CLAIMED]) then
    R[R_SETTLED], R[R_ESTIMATED] = digest, estimated
    body = close(id, R, STATE_SETTLED, cost, nil, nil, facts)
    if not estimated then learn(R, cost) end
    if outcome then note_outcome(R, outcome, answered) end
  elseif state == STATE_SETTLED and R[R_SETTLED] == digest then
    repeated = true
  elseif state == STATE_EXPIRED and R[R_REFUNDED] == 0 then
    R[R_SETTLED] = digest
    body = correct(id, R, STATE_SETTLED, cost, estimated)
    event(cost > R[R_AMOUNT] and 'overrun' or 'settled', told_of(R, body), nil, nil, facts)
    if outcome then note_outcome(R, outcome, answered) end
    late = true
  else
    flush()
    return {'CLOSED', encode(R)}
  end
elseif act == 'release' then
  if state == STATE_LIVE and by ~= 'thread' then body = close(id, R, STATE_RELEASED, least, nil, nil, facts)
  elseif state == STATE_PENDING then
    R[R_ASKED][Q_TAKEN_BACK] = by
    body = close(id, R, STATE_RELEASED, 0)
  elseif state == STATE_RELEASED then repeated = true
  else
    flush()
    return {'CLOSED', encode(R)}
  end
elseif state == STATE_LIVE then
  local since = R[R_ASKED] and R[R_ASKED][Q_AT] or R[R_CREATED]
  local deadline = math.min(NOW + more, since + T[T_CONFIG][C_GRANT_MAX])
  repeated = deadline <= R[R_DEADLINE]
  if not repeated then
    R[R_DEADLINE], R[R_CHANGED], R[R_ATTEMPT] = deadline, NOW, 0
    due_at('r:' .. id, deadline)
    body = store_open(id, R)
    event('extended', told_of(R, body))
  end
else
  flush()
  return {'CLOSED', encode(R)}
end
if credit > 0 and not repeated then body = take_back(id, R, credit, digest, 'given back by its chain', 'chain') end
flush()
return {'OK', body or encode(R), repeated and 1 or 0, late and 1 or 0}
