-- The lock of a record, for scripts that are about records: the last lines of a function that holds `locks` and `claims`.
counters(call('GET', PREFIX .. 'lc'))

local function stands(token, name)
  local found = standing(token, {name})
  return {found[1], found[4][1] or 0, found[5], found[3], found[8], found[7] ~= 0}
end

-- How it stands, without a word for or against it.
local function peek(token, name)
  open_lock(name)
  settle()
  save()
  return stands(token, name)
end

local TROUBLE = {LOCKS_FULL = 'locks_full', LOCK_DIFFERS = 'lock_differs',
  HALTED = 'tenant_halted', BLOCKED = 'agent_blocked', wounded = 'lock_deadlock', gone = 'lock_lost'}

-- Takes it or a place in its queue, or shows that its waiter lives. Answers what is in the way, or how it stands.
local function attend(token, agent, sid, lease, inbox)
  local name, within = lease[K_RESOURCE], lease[K_WITHIN]
  if lease[K_QUEUED] and #within > 0 then -- who held others and lost its place must begin again with those
    local L = open_lock(name)
    if not held_by(L, token) and call('HEXISTS', PREFIX .. 'lw:' .. name, token) == 0 then return 'lock_lost' end
  end
  local G, S = fetch('a:' .. agent), fetch('s:' .. sid) -- whose ceilings may have been lowered since it was judged
  local priority = math.min(lease[K_PRIORITY], G[G_PRIORITY], S and S[S_PRIORITY] or 10)
  local word, what = take(agent, sid, {name}, token, priority, lease[K_TTL], 1, 1, 'exclusive', nil, nil, true, inbox, within)
  save()
  lease[K_QUEUED] = true
  if what == 'known' then return nil, stands(token, name) end
  return TROUBLE[what] or TROUBLE[word] or 'lock_unavailable'
end

-- Its grant is over. Whoever still works in a block of it hears so. Answers whether it was held until now.
local function give_back(token, agent, name)
  local H = held_by(open_lock(name), token)
  if H then tell(H[H_INBOX], 'L', token, name, H[H_FENCE], NOW) end
  give_up(agent, name, token)
  settle()
  save()
  return H
end

return attend, peek, give_back
