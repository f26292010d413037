-- A page of open records, of one agent or of all, from place A[2] on; with A[3], PENDING ones are declined by that operator.
local agent, from, author = unpack(A, 1, 3)
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
local page = call('ZRANGE', PREFIX .. 'd', from, from + 199)
local answer, left = {}, 0
for i = 1, #page do
  local id = string.sub(page[i], 1, 2) == 'r:' and string.sub(page[i], 3)
  local blob = id and call('GET', PREFIX .. 'r:' .. id)
  local R = blob and decode(blob)
  if R and (not agent or R[R_AGENT] == agent) then
    if overdue(R) then expire(id, R)
    else
      if author and R[R_STATE] == 'P' then
        close(id, R, 'D', 0, author, agent and 'the agent was blocked' or 'the tenant was halted')
      else left = left + 1 end
      answer[#answer + 1] = {id, R}
    end
  else left = left + 1 end
end
flush()
return {'OK', encode({#page == 200 and from + left or false, answer})}
