-- Remembers, or forgets, what a channel has shown of one approval, and which message that is. Only who holds the lease may.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if call('GET', PREFIX .. 'cl:' .. channel) ~= holder then return {'OK', 0} end
local name = PREFIX .. 'cn:' .. channel
if not notice then
  call('HDEL', name, approval)
  return {'OK', 1}
end
local blob = call('HGET', name, approval)
if not blob then -- people see the question for the first time here, which its events tell with the answer
  local id = string.sub(approval, 4)
  local stored = call('GET', PREFIX .. 'r:' .. id)
  local R = stored and complete_R(decode(stored))
  if R and R[R_STATE] == STATE_PENDING then
    local told = R[R_ASKED][Q_TOLD] or {}
    told[#told + 1] = {channel, NOW}
    R[R_ASKED][Q_TOLD] = told
    store_open(id, R)
  end
end
local kept = blob and decode(blob) or {}
for i = 1, #notice do kept[i] = notice[i] end -- what a newer version keeps behind it stays
call('HSET', name, approval, encode(kept))
call('PEXPIRE', name, keep)
call('SET', PREFIX .. 'cm:' .. channel .. '\t' .. ref, approval, 'PX', keep)
return {'OK', 1}
