-- An operator takes a lock from its holders: from all, or from the one with this fence.
T = fetch('t')
if not T then return {'NO_TENANT'} end
open_books()
local L = open_lock(name)
settle()
local taken = {}
for at = #L[L_HOLDERS], 1, -1 do
  local H = L[L_HOLDERS][at]
  if not fence or H[H_FENCE] == fence then
    taken[#taken + 1] = {H[H_AGENT], H[H_FENCE]}
    drop(name, L, at, 'forced', author)
  end
end
settle()
save()
if #taken == 0 then return {'NO_LOCK'} end
return {'OK', encode(taken)}
