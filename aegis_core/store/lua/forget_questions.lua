-- Takes an agent's words out of the records of its questions, and deletes what these show. Answers how many held some.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local held = 0
for i = 1, #ids do
  local name = PREFIX .. 'r:' .. ids[i]
  local blob = call('GET', name)
  local R = blob and complete_R(decode(blob))
  if R and R[R_AGENT] == agent and R[R_ASKED] then
    local Q = R[R_ASKED]
    if Q[Q_TRACE].intent then held = held + 1 end
    Q[Q_SAID] = Q[Q_SAID] or ''
    call('SET', name, told_of(R, blob), 'KEEPTTL')
    call('UNLINK', PREFIX .. 'q:' .. ids[i], PREFIX .. 'q:' .. ids[i] .. ':e')
  end
end
return {'OK', held}
