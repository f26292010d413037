-- Takes one lock or several at once, or a place in their queues. The same token again finds what it holds or waits for.
inbox = inbox or false

local blobs = call('MGET', KEYS[1], PREFIX .. 'a:' .. agent, PREFIX .. 'lc', PREFIX .. 'l:' .. names[1],
  PREFIX .. 's:' .. (sid or ''))
T = hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
local G = hold('a:' .. agent, blobs[2])
if not G then return {'NO_AGENT'} end
if sid then hold('s:' .. sid, blobs[5]) else sid = G[G_SESSION] end
local refused = impostor(agent, sid, session_token)
if refused then return {refused} end
local S = fetch('s:' .. sid)
if not S or S[S_AGENT] ~= agent then return {'NO_SESSION'} end
refused = refuse_beyond_rate(agent, G, S)
if refused then return refused end
open_books(blobs[3])
open_lock(names[1], blobs[4])
if NOW % 8 == 0 then look_around(8) end
for _, name in ipairs(queue and #within > 1 and names or {}) do -- what the caller holds is not free while he waits
  local L, of_caller = open_lock(name), {}
  for at = 1, #within - 1, within[1] do
    local H = held_by(L, within[at + I_TOKEN])
    if H and H[H_AGENT] == agent then of_caller[#of_caller + 1] = H end
  end
  if #of_caller > 0 and not held_by(L, token) and not fits(of_caller, L[L_PERMITS], weight, mode) then
    settle()
    save()
    return {'OK', 'itself', name}
  end
end
local said = {take(agent, sid, names, token, priority, ttl, permits, weight, mode, preemption, grace, queue, inbox, within)}
save()
if said[2] ~= 'known' then return said end
if NOW - S[S_SEEN] > 60000 then
  S[S_SEEN] = NOW
  change('s:' .. sid)
  flush()
end
return {'OK', 'known', encode(standing(token, names))}
