-- Ends some overdue records; answers 1 while more are left.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][Z_NAME]} end
return {'OK', NOW >= T[T_DUE] and sweep(most) and 1 or 0, NOW}
