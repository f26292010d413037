-- Takes back some of what an ended grant was charged.
--@ taking_back
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local blob = call('GET', PREFIX .. 'r:' .. id)
if not blob then return {'NO_GRANT'} end
local R = complete_R(decode(blob))
if overdue(R) then expire(id, R) end
local repeated = R[R_REFUND] == refund_id
if not repeated then
  local open = R[R_STATE] == STATE_LIVE or R[R_STATE] == STATE_PENDING
  local left = open and 0 or math.max(0, R[R_CHARGED] - R[R_REFUNDED]) -- a chain may give back more
  if nanos > left then
    flush()
    return {'REFUND_ABOVE', open and 1 or 0, string.format('%.0f', left)}
  end
  take_back(id, R, nanos, refund_id, reason, author)
end
flush()
return {'OK', encode(R), repeated and 1 or 0}
