-- Takes, keeps or (with no time) gives up the lease of who counts events, or of who closes days. Answers its fence, 0 where
-- somebody else has it, and how far it came. A new holder has a new fence, so that an old one can write nothing any more.
-- Who closes days keeps its fence while nobody else came, however long it took to judge one.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local name = days and PREFIX .. 'kz' or PREFIX .. 'hc'
local found = call('HMGET', name, 'holder', 'until', 'fence', 'cursor', 'number', 'day')
local mine, over = found[1] == holder, not found[2] or tonumber(found[2]) <= NOW
if milliseconds == 0 then
  if mine then call('HSET', name, 'until', 0) end
  return {'OK', 0, '', 0, -1, NOW, T[T_ZONE][Z_NAME]}
end
if not mine and not over then return {'OK', 0, '', 0, -1, NOW, T[T_ZONE][Z_NAME]} end
local fence = mine and (days or not over) and tonumber(found[3]) or call('HINCRBY', name, 'fence', 1)
call('HSET', name, 'holder', holder, 'until', string.format('%.0f', NOW + milliseconds))
return {'OK', fence, found[4] or '0', tonumber(found[5] or 0), tonumber(found[6] or -1), NOW, T[T_ZONE][Z_NAME]}
