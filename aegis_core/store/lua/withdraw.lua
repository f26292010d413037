-- Takes back a verdict of which its caller never heard. Where there is none yet, a tombstone stands in the way of the request,
-- which may still lie in a buffer. What another call was answered with is left alone.
local blobs = call('MGET', KEYS[1], PREFIX .. 'r:' .. id, PREFIX .. 'a:' .. agent, PREFIX .. 's:' .. (sid or ''))
T = blobs[1] and hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
local G = hold('a:' .. agent, blobs[3])
if sid then hold('s:' .. sid, blobs[4]) end
local refused = impostor(agent, sid, token)
if refused then return {refused} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local R = blobs[2] and complete_R(decode(blobs[2]))
if not R then
  if not G then return {'OK'} end -- which will be refused
  R = NEW_R
  R[R_STATE], R[R_AGENT], R[R_REQUEST], R[R_SESSION], R[R_DIGEST] = STATE_RELEASED, agent, request_id, sid or '', digest
  R[R_POLICY], R[R_CREATED], R[R_CHANGED], R[R_DEADLINE] = T[T_POLICY], NOW, NOW, 0
  R[R_AMOUNT], R[R_CHARGED], R[R_CODE], R[R_RULE], R[R_REASON], R[R_RETRY] = 0, 0, 'withdrawn', false, false, 0
  R[R_MODEL], R[R_RECOMMENDED], R[R_RESOURCE], R[R_LINES], R[R_SHORT] = false, false, resource, NEW_M, false
  R[R_SETTLED], R[R_STRICT], R[R_SAMPLES], R[R_TRUSTED], R[R_WOULD] = false, 0, 0, false, false
  R[R_ASKED], R[R_ENVELOPE], R[R_WHY], R[R_LOCK], R[R_ATTEMPT] = false, false, false, false, attempt
  store_ended(id, R)
elseif R[R_AGENT] == agent and R[R_ATTEMPT] == attempt and attempt > 0 then
  if overdue(R) then expire(id, R) end
  local state = R[R_STATE]
  if (state == STATE_LIVE or state == STATE_PENDING) and not (R[R_ASKED] and R[R_ASKED][Q_CLAIMED]) then
    R[R_CODE] = 'withdrawn'
    close(id, R, STATE_RELEASED, 0)
  elseif state == STATE_EXPIRED and R[R_REFUNDED] == 0 then -- the store was away for longer than the grant
    R[R_CODE] = 'withdrawn'
    event('released', told_of(R, correct(id, R, STATE_RELEASED, 0, false)))
  end
  flush()
end
return {'OK'}
