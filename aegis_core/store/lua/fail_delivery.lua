-- Counts that an event could not be posted to a destination, under the present fence and with the cursor where it stood. One that
-- was refused `most` times, or that the receiver has answered with errors for `patience`, is put aside, which is an event, and the
-- cursor passes it. Answers whether the cursor was ours, the attempts, and whether it was put aside.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name, author = PREFIX .. 'dv:' .. destination, 'webhook:' .. destination
local stored = call('HMGET', name, 'fence', 'cursor', 'failing', 'since', 'attempts', 'problem')
if tonumber(stored[1] or 0) ~= fence or stored[2] ~= before then return {'OK', 0, 0, 0} end
local same = stored[3] == event_id
local attempts = 1 + (same and tonumber(stored[5]) or 0)
local since = same and patience and tonumber(stored[4]) or NOW -- a receiver that does not answer is waited for
if down then
  call('HSET', name, 'problem', problem)
  if not stored[6] then
    call('HSET', name, 'problem_since', NOW)
    event('channel_failed', encode({NOW, problem, author, 'sending'}))
  end
end
if not ((most and attempts >= most) or (patience and NOW - since >= patience)) then
  call('HSET', name, 'failing', event_id, 'since', since, 'attempts', attempts)
  return {'OK', 1, attempts, 0}
end
local aside = PREFIX .. 'dl:' .. destination
call('XADD', aside, 'MAXLEN', 1000, '*', 'i', event_id, 'n', number, 'k', kind, 'a', attempts, 'p', problem)
call('PEXPIRE', aside, 30 * 86400000)
call('HSET', name, 'cursor', event_id, 'number', number)
call('HDEL', name, 'failing', 'since', 'attempts')
if kind ~= 'webhook_dead_lettered' then -- else two that refuse everything would tell of each other for ever
  event('webhook_dead_lettered', encode({NOW, event_id, kind, attempts, problem, author}))
end
return {'OK', 1, attempts, 1}
