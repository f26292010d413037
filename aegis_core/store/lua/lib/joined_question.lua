-- Calls that may take each other's place share a question: what would ask a person joins the one that an earlier call asked, or
-- what came of it that nobody used yet. It holds money, which is all that some calls lack. Nothing is written for those.
if joins and (asked or code == 'budget_exceeded') then
  local earlier = call('GET', PREFIX .. 'qn:' .. joins[JOINS_NAME])
  local held = earlier and call('GET', PREFIX .. 'r:' .. earlier)
  local E = held and complete_R(decode(held))
  if E and E[R_SESSION] == sid and E[R_ASKED] then
    local open = E[R_STATE] == STATE_PENDING or unheard(E)
    if E[R_STATE] == STATE_DECLINED and NOW < E[R_CHANGED] + DECLINED_FOR
      or open and not overdue(E) and E[R_AMOUNT] >= joins[JOINS_AT_LEAST] then
      return {'JOINED', held}
    end
  end
end
