-- Locks. l:NAME exists while somebody holds or wants the lock. Its queue is kept apart, so that a lock with thousands
-- of waiters costs no more to open than one with none. Every script opens the locks it is about (which ends expired
-- leases), settles (which hands free permits to the queue), only then does its own work, settles again and saves.
--
-- A place in the queue is a rank: the moment of asking, less STEP for each level of priority. So equals are served in
-- their order, and nobody is overtaken by one who came more than nine steps later.
local CLAIM = 3000 -- a grant that was handed to a waiter is its own for this long; a renewal shows that it arrived
local ALIVE = 15000 -- a waiter that does not ask again for this long is taken for dead
local STEP = 2000 * 1024 -- ranks count 1,024ths of a millisecond
local WOUND = 100 -- the grace of one that is stopped because it closes a cycle of waits: it waits, so it does not work
local KEPT = 7 * 86400000
local MOST_LOCKS, MOST_WAITERS, MOST_OF_AGENT = 10000, 10000, 1000

local LOCKS, TOUCHED, DIRTY, MARKED, HEADS = {}, {}, {}, {}, {}
local N -- the tenant's counters {last fence, last rank given}: no name's fence ever falls, even when its lock is gone
local PRESENT -- the token of the caller, which needs no message and has claimed what it gets

local function tell(inbox, kind, token, name, fence, at)
  if inbox then
    call('PUBLISH', PREFIX .. 'i:' .. inbox, string.format('%s\t%s\t%s\t%.0f\t%.0f', kind, token, name, fence, at))
  end
end

local function note_lock(kind, agent, name, fence, priority, waited, held, more)
  event('lock_' .. kind,
    encode({NOW, agent, name, fence, priority, math.max(waited, 0), math.max(held, 0), more or false}))
end

local function mark(name) -- its queue may have moved
  if not MARKED[name] and LOCKS[name][L_QUEUED] > 0 then MARKED[name], DIRTY[#DIRTY + 1] = true, name end
end
local function dirty(name)
  TOUCHED[name] = true
  mark(name)
end

-- Takes a permit from its holder. Whoever is next gets it when the script settles.
local function drop(name, L, at, kind, more)
  local H = table.remove(L[L_HOLDERS], at)
  dirty(name)
  call('ZREM', PREFIX .. 'la:' .. H[H_AGENT], H[H_TOKEN] .. '\t' .. name)
  note_lock(kind, H[H_AGENT], name, H[H_FENCE], H[H_PRIORITY], H[H_WAITED], NOW - H[H_SINCE], more)
  if kind ~= 'released' then tell(H[H_INBOX], 'L', H[H_TOKEN], name, H[H_FENCE], NOW) end
end

local function open_lock(name, blob)
  local L = LOCKS[name]
  if L then return L end
  if blob == nil then blob = call('GET', PREFIX .. 'l:' .. name) end
  L = blob and decode(blob) or {1, 'after_grace', 5000, {}, 0, 0}
  LOCKS[name] = L
  local holders = L[L_HOLDERS]
  for at = #holders, 1, -1 do
    local H = holders[at]
    if H[H_EXPIRES] <= NOW then
      drop(name, L, at, H[H_EVICTED] > 0 and 'evicted' or H[H_CLAIMED] and 'expired' or 'unclaimed')
    end
  end
  if L[L_QUEUED] > 0 then mark(name) end -- who is first may have died meanwhile
  return L
end

local function held_by(L, token)
  local holders = L[L_HOLDERS]
  for at = 1, #holders do
    if holders[at][H_TOKEN] == token then return holders[at], at end
  end
end

-- Sharers exclude only those who want the lock for themselves, who share the permits among them by weight.
local function fits(holders, permits, weight, mode)
  local used, shared = 0, false
  for i = 1, #holders do
    if holders[i][H_MODE] == 'shared' then shared = true else used = used + holders[i][H_WEIGHT] end
  end
  if mode == 'shared' then return used == 0 end
  return not shared and used + weight <= permits
end

-- Ends a wait, in every queue in which it stood.
local function leave(token, W, kind, more)
  local names, within = W[W_NAMES], W[W_WITHIN]
  for i = 1, #names do
    local name = names[i]
    local L = open_lock(name)
    call('ZREM', PREFIX .. 'lq:' .. name, token)
    call('HDEL', PREFIX .. 'lw:' .. name, token)
    L[L_QUEUED], HEADS[name] = L[L_QUEUED] - 1, nil
    if kind then
      call('ZREM', PREFIX .. 'la:' .. W[W_AGENT], token .. '\t' .. name)
      note_lock(kind, W[W_AGENT], name, false, W[W_PRIORITY], NOW - W[W_SINCE], 0, more)
    end
    dirty(name)
  end
  for i = 1, #within, 2 do
    local H = held_by(open_lock(within[i]), within[i + 1])
    for at = H and #H[H_WAITS] or 0, 1, -2 do
      if H[H_WAITS][at] == token then
        table.remove(H[H_WAITS], at)
        table.remove(H[H_WAITS], at - 1)
        TOUCHED[within[i]] = true
      end
    end
  end
end

-- The first in the queue who is still there.
local function head_of(name, L)
  local known = HEADS[name]
  if known then return known[1], known[2] end
  while L[L_QUEUED] > 0 do
    local token = call('ZRANGE', PREFIX .. 'lq:' .. name, 0, 0)[1]
    local blob = token and call('HGET', PREFIX .. 'lw:' .. name, token)
    if not blob then -- the queue's keys are gone or damaged
      if token then call('ZREM', PREFIX .. 'lq:' .. name, token) end
      L[L_QUEUED], TOUCHED[name] = call('ZCARD', PREFIX .. 'lq:' .. name), true
    else
      local W = decode(blob)
      if W[W_ALIVE] > NOW then
        HEADS[name] = {token, W}
        return token, W
      end
      leave(token, W, 'abandoned')
    end
  end
end

-- Gives notice: with a grace period after which the permit is gone, or (cooperative) without an end.
local function evict(name, H, grace, kind, by)
  H[H_EVICTED] = -1
  if grace then
    H[H_EXPIRES] = math.min(H[H_EXPIRES], NOW + grace)
    H[H_EVICTED] = H[H_EXPIRES]
  end
  TOUCHED[name] = true
  note_lock(kind, H[H_AGENT], name, H[H_FENCE], H[H_PRIORITY], H[H_WAITED], NOW - H[H_SINCE], by)
  tell(H[H_INBOX], 'P', H[H_TOKEN], name, H[H_FENCE], H[H_EVICTED])
end

-- Gives notice to as many holders of strictly lower priority as the first in the queue needs, the lowest and youngest
-- first; to none when that would not be enough.
local function preempt(name, L, W)
  if L[L_PREEMPTION] == 'never' then return end
  local staying, victims = {}, {}
  for _, H in ipairs(L[L_HOLDERS]) do
    if H[H_EVICTED] == 0 then staying[#staying + 1] = H end
  end
  while not fits(staying, L[L_PERMITS], W[W_WEIGHT], W[W_MODE]) do
    local at
    for i, H in ipairs(staying) do
      local worst = staying[at]
      if H[H_PRIORITY] < W[W_PRIORITY] and (not at or H[H_PRIORITY] < worst[H_PRIORITY]
          or H[H_PRIORITY] == worst[H_PRIORITY] and H[H_RANK] > worst[H_RANK]) then at = i end
    end
    if not at then return end
    victims[#victims + 1] = table.remove(staying, at)
  end
  for _, H in ipairs(victims) do
    evict(name, H, L[L_PREEMPTION] == 'after_grace' and L[L_GRACE], 'preempting', W[W_AGENT])
  end
end

-- What the chain of a waiter waits for besides, as {lock, token, ...}. From now on the lease that it gets waits for it too:
-- else one who came earlier would take a holder that keeps others out by its waiting for one that works.
local function inherited(name, token, W)
  local within, waits = W[W_WITHIN], {}
  for i = 1, #within, 2 do
    local outer = held_by(open_lock(within[i]), within[i + 1])
    if outer then
      for at = 1, #outer[H_WAITS], 2 do
        local queue_of, other = outer[H_WAITS][at], outer[H_WAITS][at + 1]
        local blob = call('HGET', PREFIX .. 'lw:' .. queue_of, other)
        if blob then
          local V = decode(blob)
          local outers = V[W_WITHIN]
          outers[#outers + 1], outers[#outers + 2] = name, token
          for _, each in ipairs(V[W_NAMES]) do
            call('HSET', PREFIX .. 'lw:' .. each, other, encode(V))
            HEADS[each] = nil
          end
          waits[#waits + 1], waits[#waits + 2] = queue_of, other
        end
      end
      return waits
    end
  end
  return waits
end

local function give(name, token, W)
  local present, H = token == PRESENT, {}
  N[1] = N[1] + 1
  H[H_TOKEN], H[H_AGENT], H[H_FENCE], H[H_SESSION] = token, W[W_AGENT], N[1], W[W_SESSION]
  H[H_EXPIRES] = NOW + (present and W[W_TTL] or math.min(W[W_TTL], CLAIM))
  H[H_PRIORITY], H[H_RANK], H[H_WEIGHT], H[H_MODE] = W[W_PRIORITY], W[W_RANK], W[W_WEIGHT], W[W_MODE]
  H[H_SINCE], H[H_WAITED], H[H_TTL], H[H_CLAIMED], H[H_EVICTED] = NOW, NOW - W[W_SINCE], W[W_TTL], present, 0
  H[H_INBOX], H[H_NAMES], H[H_CHAIN], H[H_WAITS] = W[W_INBOX], W[W_NAMES], W[W_CHAIN], inherited(name, token, W)
  local holders = LOCKS[name][L_HOLDERS]
  holders[#holders + 1] = H
  TOUCHED[name] = true
  note_lock('acquired', W[W_AGENT], name, N[1], W[W_PRIORITY], H[H_WAITED], 0)
  if not present then tell(W[W_INBOX], 'G', token, name, #W[W_NAMES] == 1 and N[1] or 0, H[H_EXPIRES]) end
end

-- True when the process that would hear of a grant is gone. In a cluster, where other nodes' listeners do not count,
-- inboxes begin with a tilde, and only the time in which a grant must be claimed tells.
local function deaf(inbox)
  return inbox and string.sub(inbox, 1, 1) ~= '~' and call('PUBSUB', 'NUMSUB', PREFIX .. 'i:' .. inbox)[2] == 0
end

-- Hands what is free to the first in the queue, for as long as the first gets all it wants. One who wants several
-- locks gets all or none, and keeps its place in each queue meanwhile: ranks are the same everywhere, so the lowest of
-- all is first in each of its queues.
local function hand(name)
  if T[T_STATUS] ~= 'active' then return end
  local L = open_lock(name)
  while true do
    local token, W = head_of(name, L)
    if not token then return end
    local names, ready = W[W_NAMES], true
    for i = 1, #names do
      local other = open_lock(names[i])
      if names[i] ~= name and head_of(names[i], other) ~= token then
        ready = false
      elseif not fits(other[L_HOLDERS], other[L_PERMITS], W[W_WEIGHT], W[W_MODE]) then
        ready = false
        preempt(names[i], other, W)
      end
    end
    if not ready then return end
    local G = token ~= PRESENT and fetch('a:' .. W[W_AGENT])
    if token ~= PRESENT and deaf(W[W_INBOX]) then
      leave(token, W, 'abandoned')
    elseif G and G[G_STATUS] ~= 'active' then -- blocked while it waited, which it hears when it asks again
      leave(token, W, 'cancelled')
      tell(W[W_INBOX], 'A', token, name, 0, NOW)
    else
      leave(token, W)
      for i = 1, #names do give(names[i], token, W) end
    end
  end
end

local function settle()
  local at = 1
  while DIRTY[at] do
    hand(DIRTY[at])
    MARKED[DIRTY[at]] = nil
    at = at + 1
  end
  DIRTY = {}
end

-- Ends what others left behind, a few locks a call and now and then, so that expiries are seen though nobody asks for
-- those locks.
local function look_around(most)
  for _, name in ipairs(call('ZRANGEBYSCORE', PREFIX .. 'ld', '-inf', NOW, 'LIMIT', 0, most)) do
    open_lock(name)
    dirty(name)
  end
end

local function save()
  for name in pairs(TOUCHED) do
    local L = LOCKS[name]
    local holders = L[L_HOLDERS]
    if #holders == 0 and L[L_QUEUED] == 0 then
      call('DEL', PREFIX .. 'l:' .. name)
      call('ZREM', PREFIX .. 'ld', name)
    else
      local first, last = MAX, NOW + ALIVE
      for i = 1, #holders do
        first, last = math.min(first, holders[i][H_EXPIRES]), math.max(last, holders[i][H_EXPIRES])
      end
      if first == MAX then first = NOW + ALIVE end
      if first ~= L[L_DUE] then
        L[L_DUE] = first
        call('ZADD', PREFIX .. 'ld', first, name)
      end
      call('SET', PREFIX .. 'l:' .. name, encode(L), 'PX', last - NOW + KEPT)
    end
  end
  if N[1] ~= N[3] or N[2] ~= N[4] then call('SET', PREFIX .. 'lc', encode({N[1], N[2]})) end
end

local function counters(blob)
  N = blob and decode(blob) or {0, 0}
  N[3], N[4] = N[1], N[2] -- as they were
end

-- How a claim stands: {state, now, expires, fences, place, asked at, evicted at, next expiry of a holder, names}.
local function standing(token, names)
  local fences, expires, evicted, next_expiry, place, since = {}, MAX, 0, MAX, 0, NOW
  local state = 'held'
  for i = 1, #names do
    local L = LOCKS[names[i]]
    local H = held_by(L, token)
    if H then
      fences[#fences + 1], expires, since = H[H_FENCE], math.min(expires, H[H_EXPIRES]), H[H_SINCE]
      if H[H_EVICTED] ~= 0 then evicted = H[H_EVICTED] end
    else
      state = 'busy'
      local at = L[L_QUEUED] > 0 and call('ZRANK', PREFIX .. 'lq:' .. names[i], token)
      if at then state, place = 'waiting', math.max(place, at) end
      for _, other in ipairs(L[L_HOLDERS]) do next_expiry = math.min(next_expiry, other[H_EXPIRES]) end
    end
  end
  return {state, NOW, state == 'held' and expires or 0, fences, place, since, evicted,
    next_expiry < MAX and next_expiry or NOW + CLAIM, names}
end
