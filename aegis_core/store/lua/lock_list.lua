-- A page of locks by their next expiry, or one of them: who holds them and who waits, at most 50 of each.
T = fetch('t')
if not T then return {'NO_TENANT'} end
open_books()
look_around(200)
settle()
local page = one and {one} or call('ZRANGE', PREFIX .. 'ld', start, start + 199)
local found = {}
for _, name in ipairs(page) do open_lock(name) end
settle()
save()
for _, name in ipairs(page) do
  local L = open_lock(name)
  local holders, waiters = {}, {}
  for at, H in ipairs(L[L_HOLDERS]) do
    if at > 50 then break end
    holders[at] = {H[H_AGENT], H[H_FENCE], H[H_PRIORITY], H[H_WEIGHT], H[H_MODE], H[H_SINCE], H[H_EXPIRES], H[H_EVICTED],
      H[H_WAITED]}
  end
  for at, token in ipairs(L[L_QUEUED] > 0 and call('ZRANGE', PREFIX .. 'lq:' .. name, 0, 49) or {}) do
    local blob = call('HGET', PREFIX .. 'lw:' .. name, token)
    local W = blob and complete_W(decode(blob))
    if W then
      waiters[#waiters + 1] = {W[W_AGENT], W[W_PRIORITY], W[W_WEIGHT], W[W_MODE], W[W_SINCE], at - 1}
    end
  end
  if #holders > 0 or #waiters > 0 then
    found[#found + 1] = {name, L[L_PERMITS], L[L_PREEMPTION], holders, waiters, L[L_QUEUED]}
  end
end
return {'OK', encode({NOW, #page == 200 and start + 200 or false, found})}
