-- Hands what was approved to the first of those who heard of it. Answers whether it is this one.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local place = PREFIX .. 'qn:' .. name
if call('GET', place) ~= id then return {'OK', 0} end
call('DEL', place)
return {'OK', 1}
