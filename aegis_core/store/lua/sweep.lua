-- Ends some overdue records; answers 1 while more are left.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
if early then
  local counting = call('ZRANGEBYSCORE', PREFIX .. 'd', '-inf', NOW + ALIKE, 'LIMIT', 0, 1000)
  for i = 1, #counting do
    if string.sub(counting[i], 1, 1) == 'a' then end_repeated(counting[i], true) end
  end
  flush()
end
return {'OK', NOW >= T[T_DUE] and sweep(most) and 1 or 0, NOW}
