-- Takes back some of what an ended grant cost, or what its chain gave back beside that. A correction counts in the windows
-- in which it is made; no budget has more than its limit by it, so what these have not spent is only in the bill.
local function take_back(id, R, nanos, refund_id, reason, author)
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
  local own = math.min(nanos, math.max(0, R[R_CHARGED] - R[R_REFUNDED])) -- what a chain gives beside widens no approval
  correct_envelope(R, -own)
  flows.count(id, R, -own, 0, 0)
  R[R_REFUNDED], R[R_REFUND] = R[R_REFUNDED] + nanos, refund_id
  local body = store_ended(id, R)
  event('refunded', encode({NOW, R[R_AGENT], id, R[R_REQUEST], nanos, R[R_CHARGED], R[R_REFUNDED], reason, author}))
  return body
end
