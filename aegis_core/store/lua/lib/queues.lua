-- Queues of locks: who leaves them, who is first, and who must go for the first.
-- Ends a wait, in every queue in which it stood.
local function leave(token, W, kind, more)
  local names, within = W[W_NAMES], W[W_WITHIN]
  for i = 1, #names do
    local name = names[i]
    local L = open_lock(name)
    call('ZREM', PREFIX .. 'lq:' .. name, token)
    call('HDEL', PREFIX .. 'lw:' .. name, token)
    L[L_QUEUED], HEADS[name] = L[L_QUEUED] - 1, nil
    count_place(name, W, -1)
    if kind then
      forget_claim(W[W_AGENT], W[W_CREDENTIAL], token, name)
      note_lock(kind, W[W_AGENT], name, false, W[W_PRIORITY], NOW - W[W_SINCE], 0, more)
    end
    dirty(name)
  end
  for at = 1, #within - 1, within[1] do
    local outer = within[at + I_LOCK]
    local H = held_by(open_lock(outer), within[at + I_TOKEN])
    local waits = H and H[H_WAITS] or NEW_I
    for row = #waits - waits[1], 1, -waits[1] do
      if waits[row + I_TOKEN] == token then
        for _ = 1, waits[1] do table.remove(waits, row + 1) end
        TOUCHED[outer] = true
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
      local W = complete_W(decode(blob))
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
  tell(H[H_INBOX], TELL_MUST_GO, H[H_TOKEN], name, H[H_FENCE], H[H_EVICTED])
end

-- What notice a holder of lower priority is given, by the lock's preemption: none, or with a grace in ms, false without an
-- end. What a newer version added is taken for none.
local NOTICES = {
  never = false,
  cooperative = function() return false end,
  after_grace = function(L) return L[L_GRACE] end,
}

-- Gives notice to as many holders of strictly lower priority as the first in the queue needs, the lowest and youngest
-- first; to none when that would not be enough.
local function preempt(name, L, W)
  local grace_of = NOTICES[L[L_PREEMPTION]]
  if not grace_of then return end
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
  for _, H in ipairs(victims) do evict(name, H, grace_of(L), 'preempting', W[W_AGENT]) end
end
