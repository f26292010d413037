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

-- Takes it or a place in its queue, or shows that its waiter lives. Answers what is in the way, or how it stands.
local function attend(token, agent, sid, lease, inbox, within)
  local name = lease[K_RESOURCE]
  if lease[K_JOINED] and not within then -- who held others and lost its place must begin again with those
    local L = open_lock(name)
    if not held_by(L, token) and call('HEXISTS', PREFIX .. 'lw:' .. name, token) == 0 then return 'lock_lost' end
  end
  local word, what = take(agent, sid, {name}, token, lease[K_PRIORITY], lease[K_TTL], nil, 1, 'exclusive', nil, nil, true,
    inbox, within or {})
  save()
  if what == 'known' then return nil, stands(token, name) end
  return word == 'LOCKS_FULL' and 'locks_full' or what == 'wounded' and 'lock_deadlock' or what == 'gone' and 'lock_lost'
    or 'lock_unavailable'
end

local function give_back(token, agent, name)
  give_up(agent, name, token)
  settle()
  save()
end

return attend, peek, give_back
