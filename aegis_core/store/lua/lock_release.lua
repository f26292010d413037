-- Gives a lease back, or a place in the queue. What becomes free is handed to those who wait, in the same step.
local agent, sid, session_token, name, token, fence = unpack(A, 1, 6)
local blobs = call('MGET', KEYS[1], PREFIX .. 'lc', PREFIX .. 'l:' .. name, PREFIX .. 's:' .. (sid or ''))
T = hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
if sid then hold('s:' .. sid, blobs[4]) end
local refused = impostor(agent, sid, session_token)
if refused then return {refused} end
counters(blobs[2])
local L = open_lock(name, blobs[3])
look_around(2)
settle()
local function answer(...)
  save()
  return {...}
end

local H = held_by(L, token)
if H then
  if H[H_AGENT] ~= agent then return answer('NOT_YOURS') end
  if fence and H[H_FENCE] ~= fence then return answer('OK', 'gone') end
  local names, since = H[H_NAMES], H[H_SINCE]
  for i = 1, #names do
    local other = open_lock(names[i])
    local _, at = held_by(other, token)
    if at then drop(names[i], other, at, 'released') end
  end
  settle()
  return answer('OK', 'released', NOW - since)
end
local blob = L[L_QUEUED] > 0 and call('HGET', PREFIX .. 'lw:' .. name, token)
if not blob then return answer('OK', 'gone') end
local W = decode(blob)
if W[W_AGENT] ~= agent then return answer('NOT_YOURS') end
leave(token, W, 'cancelled')
settle()
return answer('OK', 'cancelled', NOW - W[W_SINCE])
