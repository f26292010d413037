-- Takes, keeps or (with no time) gives up the lease of who posts events to a destination. Answers its fence, 0 where somebody else
-- has it, and how far was posted. What a destination is told begins with what happens after it was first held.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name, names, keep = PREFIX .. 'dv:' .. destination, PREFIX .. 'dn', 30 * 86400000
local found = call('HMGET', name, 'holder', 'until', 'fence', 'cursor', 'number')
local mine, over = found[1] == holder, not found[2] or tonumber(found[2]) <= NOW
if milliseconds == 0 then
  if mine then call('HSET', name, 'until', 0) end
  return {'OK', 0, '', 0}
end
if not mine and not over then return {'OK', 0, '', 0} end
local fence = (mine and not over) and tonumber(found[3]) or call('HINCRBY', name, 'fence', 1)
local cursor, number = found[4], tonumber(found[5] or 0)
if not cursor then
  local last = call('XREVRANGE', PREFIX .. 'e', '+', '-', 'COUNT', 1)[1]
  cursor, number = last and last[1] or '0-0', tonumber(call('HGET', PREFIX .. 'c', COUNT_EVENTS) or 0)
  call('HSET', name, 'cursor', cursor, 'number', number)
end
call('HSET', name, 'holder', holder, 'until', string.format('%.0f', NOW + milliseconds))
call('PEXPIRE', name, keep)
call('ZADD', names, NOW, destination)
call('ZREMRANGEBYSCORE', names, '-inf', string.format('(%.0f', NOW - keep))
return {'OK', fence, cursor, number}
