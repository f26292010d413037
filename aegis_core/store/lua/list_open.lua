-- A page of open records, of one agent or of all, from place `start` on; with an author, PENDING ones are declined by that
-- operator.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local page = call('ZRANGE', PREFIX .. 'd', start, start + 199)
local answer, left = {}, 0
for i = 1, #page do
  local id = string.sub(page[i], 1, 2) == 'r:' and string.sub(page[i], 3)
  local blob = id and call('GET', PREFIX .. 'r:' .. id)
  local R = blob and complete_R(decode(blob))
  if R and (not agent or R[R_AGENT] == agent) then
    if overdue(R) then expire(id, R)
    else
      if author and R[R_STATE] == STATE_PENDING then
        close(id, R, STATE_DECLINED, 0, author, agent and 'the agent was blocked' or 'the tenant was halted')
      else left = left + 1 end
      answer[#answer + 1] = {id, R}
    end
  else left = left + 1 end
end
flush()
return {'OK', encode({#page == 200 and start + left or false, answer})}
