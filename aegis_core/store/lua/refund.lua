-- Takes back some of what an ended grant was charged. A correction counts in the windows in which it is made; no budget
-- has more than its limit by it, so what these have not spent is only in the bill.
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
  local left = open and 0 or R[R_CHARGED] - R[R_REFUNDED]
  if nanos > left then
    flush()
    return {'REFUND_ABOVE', open and 1 or 0, string.format('%.0f', left)}
  end
  check_keys(id, R)
  local lines = R[R_LINES]
  for at = 1, #lines - 1, lines[1] do
    local purse, name = purse_of(lines[at + M_OWNER], R[R_AGENT], R[R_SESSION])
    local b = purse and find(purse, lines[at + M_KIND])
    if b then
      give_back(roll(b), lines[at + M_WINDOW], nanos)
      change(name)
    end
  end
  book(R, -nanos, 0, R[R_ESTIMATED] and -nanos or 0)
  correct_envelope(R, -nanos)
  flows.count(id, R, -nanos, 0, 0)
  R[R_REFUNDED], R[R_REFUND] = R[R_REFUNDED] + nanos, refund_id
  store_ended(id, R)
  event('refunded', encode({NOW, R[R_AGENT], id, R[R_REQUEST], nanos, R[R_CHARGED], R[R_REFUNDED], reason, author}))
end
flush()
return {'OK', encode(R), repeated and 1 or 0}
