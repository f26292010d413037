-- The lock of a record, for verbs that are about records.
local function how(token, name)
  local found, stands = standing(token, {name}), NEW_D
  stands[D_STATE], stands[D_FENCE], stands[D_PLACE] = found[FOUND_STATE], found[FOUND_FENCES][1] or 0, found[FOUND_PLACE]
  stands[D_EXPIRES], stands[D_NEXT_EXPIRY] = found[FOUND_EXPIRES], found[FOUND_NEXT_EXPIRY]
  stands[D_EVICTING] = found[FOUND_EVICTED] ~= 0
  return stands
end

-- How it stands, without a word for or against it.
local function peek_lock(token, name)
  open_books()
  open_lock(name)
  settle()
  save()
  return how(token, name)
end

local TROUBLE = {LOCKS_FULL = 'locks_full', TOO_MANY_WAITS = 'too_many_waits', LOCK_DIFFERS = 'lock_differs',
  HALTED = 'tenant_halted', BLOCKED = 'agent_blocked', WORKFLOW_OVER = 'workflow_ended', wounded = 'lock_deadlock', gone = 'lock_lost'}

-- Takes it or a place in its queue, or shows that its waiter lives. Answers what is in the way, or how it stands.
local function attend_lock(token, agent, sid, lease, inbox)
  open_books()
  local name, within = lease[K_RESOURCE], lease[K_WITHIN]
  if lease[K_QUEUED] and #within > 1 then -- who held others and lost its place must begin again with those
    local L = open_lock(name)
    if not held_by(L, token) and call('HEXISTS', PREFIX .. 'lw:' .. name, token) == 0 then return 'lock_lost' end
  end
  local G, S = fetch('a:' .. agent), fetch('s:' .. sid) -- whose ceilings may have been lowered since it was judged
  local priority = math.min(lease[K_PRIORITY], G[G_PRIORITY], S and S[S_PRIORITY] or 10)
  local word, what, most, in_force = take(agent, sid, {name}, token, priority, lease[K_TTL], 1, 1, 'exclusive', nil, nil, true, inbox, within)
  save()
  lease[K_QUEUED] = true
  if what == 'known' then return nil, how(token, name) end
  return TROUBLE[what] or TROUBLE[word] or 'lock_unavailable', nil,
    word == 'LOCKS_FULL' and most or (word == 'LOCK_DIFFERS' or word == 'TOO_MANY_WAITS') and in_force -- what the limit is
end

-- Its grant is over. The holder of a block of it hears so. Answers whether it was held until now.
local function give_back_lock(token, agent, name)
  open_books()
  local H = held_by(open_lock(name), token)
  if H then tell(H[H_INBOX], TELL_LOST, token, name, H[H_FENCE], NOW) end
  give_up(agent, name, token)
  settle()
  save()
  return H
end
