-- The present state of one record; whoever looks first after the deadline ends it. A[2]: its agent looks, and learns
-- that it is granted.
local id, claims = unpack(A, 1, 2)
T = fetch('t')
if not T then return {'NO_TENANT'} end
local blob = call('GET', PREFIX .. 'r:' .. id)
if not blob then return {'NO_GRANT'} end
local R = decode(blob)
if overdue(R) then
  if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
  expire(id, R)
  flush()
end
if claims and unheard(R) then
  if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
  claim(id, R)
  flush()
end
return {'OK', encode(R), NOW}
