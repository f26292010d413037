-- How the server evicts keys, where it does: while it may, no decision of the tenant is made.
T = fetch('t')
if not T then return {'NO_TENANT'} end
local found = evicts ~= '' and evicts
if T[T_EVICTS] ~= found then
  T[T_EVICTS] = found
  change('t')
  flush()
end
return {'OK'}
