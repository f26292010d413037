-- Notes that an operator had events posted to a destination again: those put aside, or (with a cursor) all after one. For these the
-- cursor goes back, and who posts begins anew there.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = PREFIX .. 'dv:' .. destination
if call('EXISTS', name) == 0 then return {'OK', 0} end
if cursor then
  call('HINCRBY', name, 'fence', 1)
  call('HSET', name, 'cursor', cursor, 'number', number, 'until', 0)
  call('HDEL', name, 'failing', 'since', 'attempts')
end
event('webhook_replayed', encode({NOW, 'webhook:' .. destination, since or false, again, author}))
return {'OK', 1}
