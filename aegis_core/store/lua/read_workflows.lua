-- One workflow with the agents and sessions that joined it, or without `one` a page of all that are kept, the newest first.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
local ids, found, left = {one}, {}, false
if not one then
  ids = call('ZREVRANGEBYSCORE', PREFIX .. 'wl', before and '(' .. before or '+inf', '-inf', 'LIMIT', 0, most)
  left = #ids == most
end
for i = 1, #ids do
  local id = ids[i]
  local blob = call('GET', PREFIX .. 'r:' .. id)
  local R = blob and complete_R(decode(blob))
  if R and overdue(R) then
    expire(id, R)
    flush()
  end
  local F, members = fetch('wf:' .. id), {}
  if not F then
    call('ZREM', PREFIX .. 'wl', id)
  else
    for _, sid in ipairs(one and call('ZRANGE', PREFIX .. 'wm:' .. id, 0, -1) or {}) do
      local S = fetch('s:' .. sid)
      if S then members[#members + 1] = {S[S_AGENT], sid, S[S_FRAMEWORK], S[S_OPENED]} end
    end
    found[#found + 1] = {id, F, members}
  end
end
return {'OK', encode({found, left}), NOW}
