-- Moves the expiry of a lease. One that was evicted keeps the deadline of its grace; one that is gone stays gone.
local blobs = call('MGET', KEYS[1], PREFIX .. 'lc', PREFIX .. 'l:' .. name, PREFIX .. 's:' .. (sid or ''),
  PREFIX .. 'a:' .. agent)
T = hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
local G = hold('a:' .. agent, blobs[5])
if not G then return {'NO_AGENT'} end
if sid then hold('s:' .. sid, blobs[4]) end
local refused = impostor(agent, sid, session_token)
if refused then return {refused} end
open_books(blobs[2])
local L = open_lock(name, blobs[3])
if NOW % 8 == 0 then look_around(8) end
settle()
local function answer(...)
  save()
  return {...}
end

local H = held_by(L, token)
if not H or fence and H[H_FENCE] ~= fence then return answer('OK', 'gone') end
if H[H_AGENT] ~= agent then return answer('NOT_YOURS') end
if T[T_STATUS] ~= 'active' then return answer('HALTED') end
if G[G_STATUS] ~= 'active' then return answer('BLOCKED') end
local names, evicted = H[H_NAMES], false
for i = 1, #names do
  H = held_by(open_lock(names[i]), token)
  if not H then
    settle()
    return answer('OK', 'gone')
  end
  evicted = evicted or H[H_EVICTED] > 0
end
settle()
for i = 1, #names do
  H, TOUCHED[names[i]] = held_by(LOCKS[names[i]], token), true
  H[H_INBOX] = inbox or H[H_INBOX]
  if not evicted then H[H_EXPIRES], H[H_CLAIMED] = NOW + (ttl or H[H_TTL]), true end
end
return answer('OK', 'known', encode(standing(token, names)))
