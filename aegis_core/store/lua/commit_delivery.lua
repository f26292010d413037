-- Moves a destination's cursor: only under the present fence, and only from where it stands. Of the events up to there so many were
-- `sent`; those of the numbers from `first` to `last` were gone before they could be, which is an event, if there are any.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name, author = PREFIX .. 'dv:' .. destination, 'webhook:' .. destination
local stored = call('HMGET', name, 'fence', 'cursor', 'problem')
if tonumber(stored[1] or 0) ~= fence or stored[2] ~= before then return {'OK', 0} end
call('HSET', name, 'cursor', cursor, 'number', number)
if last >= first then event('events_lost', encode({NOW, first, last, author})) end
if sent > 0 then
  call('HINCRBY', name, 'sent', sent)
  call('HSET', name, 'sent_at', NOW)
  call('HDEL', name, 'failing', 'since', 'attempts', 'problem', 'problem_since')
  if stored[3] then event('channel_recovered', encode({NOW, '', author, 'sending'})) end
end
return {'OK', 1}
