-- Gives a lease back, or a place in the queue. What becomes free is handed to those who wait, in the same step.
local blobs = call('MGET', KEYS[1], PREFIX .. 'lc', PREFIX .. 'l:' .. name, PREFIX .. 's:' .. (sid or ''))
T = hold('t', blobs[1])
if not T then return {'NO_TENANT'} end
if sid then hold('s:' .. sid, blobs[4]) end
local refused = impostor(agent, sid, session_token)
if refused then return {refused} end
open_books(blobs[2])
open_lock(name, blobs[3])
if NOW % 8 == 0 then look_around(8) end
local what, since = give_up(agent, name, token, fence)
settle()
save()
if what == 'NOT_YOURS' then return {what} end
return {'OK', what or 'gone', what and NOW - since or nil}
