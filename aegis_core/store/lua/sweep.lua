-- Ends up to A[1] overdue records; answers 1 while more are left.
T = fetch('t')
if not T then return {'NO_TENANT'} end
if zone_missing() then return {'ZONE', NOW, T[T_ZONE][1]} end
return {'OK', NOW >= T[T_DUE] and sweep(A[1]) and 1 or 0, NOW}
